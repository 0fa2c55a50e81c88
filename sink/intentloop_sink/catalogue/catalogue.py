"""All questions, by what they are about."""

from __future__ import annotations

from functools import cached_property

from sqlalchemy import Connection

from intentloop_sink.catalogue.datasets import Datasets
from intentloop_sink.catalogue.examples import Examples
from intentloop_sink.catalogue.intents import Intents
from intentloop_sink.catalogue.keys import Keys
from intentloop_sink.catalogue.pipeline import Pipeline
from intentloop_sink.catalogue.reports import Reports
from intentloop_sink.catalogue.retention import Retentions
from intentloop_sink.catalogue.sessions import Sessions
from intentloop_sink.catalogue.statistics import Statistics


class Catalogue:
    """Questions to one database or index, each about what is committed when it is asked."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    @cached_property
    def datasets(self) -> Datasets:
        """Datasets and their sizes."""
        return Datasets(self.connection)

    @cached_property
    def examples(self) -> Examples:
        """Examples, page by page."""
        return Examples(self.connection)

    @cached_property
    def intents(self) -> Intents:
        """Intents and their descriptions."""
        return Intents(self.connection)

    @cached_property
    def statistics(self) -> Statistics:
        """How sure the model is."""
        return Statistics(self.connection)

    @cached_property
    def reports(self) -> Reports:
        """What loggers reported."""
        return Reports(self.connection)

    @cached_property
    def sessions(self) -> Sessions:
        """Sessions of people at the pages."""
        return Sessions(self.connection)

    @cached_property
    def pipeline(self) -> Pipeline:
        """What became of everything."""
        return Pipeline(self.connection)

    @cached_property
    def keys(self) -> Keys:
        """API keys."""
        return Keys(self.connection)

    @cached_property
    def retentions(self) -> Retentions:
        """How long datasets keep their examples."""
        return Retentions(self.connection)
