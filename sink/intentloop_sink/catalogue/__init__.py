"""What is known of datasets, examples, intents and statistics, and how it is changed.

The statements are written once, and run on Postgres and on the index of the JSON files alike.
"""

from intentloop_sink.catalogue.catalogue import Catalogue
from intentloop_sink.catalogue.datasets import CreateDataset, Dataset, DeleteDataset, RenameDataset
from intentloop_sink.catalogue.edit import Edit
from intentloop_sink.catalogue.examples import (
    BulkChange,
    Changed,
    ChangeExample,
    ChangeListed,
    DeleteExamples,
    Example,
    ExampleChange,
    Page,
)
from intentloop_sink.catalogue.files import FileCatalogue, FileFollower, FileReader, FileState
from intentloop_sink.catalogue.filters import Cursor, ExampleFilter, StatisticsFilter
from intentloop_sink.catalogue.index import FileIndex
from intentloop_sink.catalogue.intents import DescribeIntent, Relabel
from intentloop_sink.catalogue.keys import AddKey, MarkUsed, RevokeKey, StoredKey
from intentloop_sink.catalogue.overlay import Overlay
from intentloop_sink.catalogue.postgres import PostgresCatalogue, SlowQueryError
from intentloop_sink.catalogue.reports import AddReport, Reported
from intentloop_sink.catalogue.retention import Retention, SetRetention
from intentloop_sink.catalogue.sessions import CloseSession, OpenSession, StoredSession
from intentloop_sink.catalogue.store import CatalogueStore, ReadableStore

__all__ = [
    "AddKey",
    "AddReport",
    "BulkChange",
    "Catalogue",
    "CatalogueStore",
    "ChangeExample",
    "ChangeListed",
    "Changed",
    "CloseSession",
    "CreateDataset",
    "Cursor",
    "Dataset",
    "DeleteDataset",
    "DeleteExamples",
    "DescribeIntent",
    "Edit",
    "Example",
    "ExampleChange",
    "ExampleFilter",
    "FileCatalogue",
    "FileFollower",
    "FileIndex",
    "FileReader",
    "FileState",
    "MarkUsed",
    "OpenSession",
    "Overlay",
    "Page",
    "PostgresCatalogue",
    "ReadableStore",
    "Relabel",
    "RenameDataset",
    "Reported",
    "Retention",
    "RevokeKey",
    "SetRetention",
    "SlowQueryError",
    "StatisticsFilter",
    "StoredKey",
    "StoredSession",
]
