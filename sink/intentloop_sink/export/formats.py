"""The formats by name: what their files are called, on disk and on the web, and who writes them."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from intentloop_sink.export.jsonl import JsonLines
from intentloop_sink.export.label_studio import LabelStudio
from intentloop_sink.export.parquet import Parquet
from intentloop_sink.export.rasa import Rasa
from intentloop_sink.export.spreadsheet import Spreadsheet
from intentloop_sink.export.writer import Writer


class Format(StrEnum):
    """How a dataset is written."""

    JSONL = "jsonl"
    CSV = "csv"
    RASA = "rasa"
    PARQUET = "parquet"
    LABEL_STUDIO = "label-studio"

    @property
    def suffix(self) -> str:
        """What a file's name ends with."""
        return _KINDS[self].suffix

    @property
    def media_type(self) -> str:
        """What it is called on the web."""
        return _KINDS[self].media_type

    @property
    def is_by_intent(self) -> bool:
        """Whether rows of one intent have to come together."""
        return self is Format.RASA

    def writer(self) -> Writer:
        """Return a writer for one file. Raises MissingExtraError."""
        return _KINDS[self].writer()


class _Kind(NamedTuple):
    suffix: str
    media_type: str
    writer: Callable[[], Writer]


_KINDS = {
    Format.JSONL: _Kind(".jsonl", "application/x-ndjson", JsonLines),
    Format.CSV: _Kind(".csv", "text/csv; charset=utf-8; header=present", Spreadsheet),
    Format.RASA: _Kind(".yml", "application/yaml", Rasa),
    Format.PARQUET: _Kind(".parquet", "application/vnd.apache.parquet", Parquet),
    Format.LABEL_STUDIO: _Kind(".json", "application/json", LabelStudio),
}
