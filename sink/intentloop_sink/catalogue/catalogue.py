"""All questions, by what they are about."""

from __future__ import annotations

from functools import cached_property

from sqlalchemy import Connection

from intentloop_sink.catalogue.datasets import Datasets
from intentloop_sink.catalogue.examples import Examples
from intentloop_sink.catalogue.keys import Keys


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
    def keys(self) -> Keys:
        """API keys."""
        return Keys(self.connection)
