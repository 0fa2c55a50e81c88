"""Parquet, for data frames: typed columns, with the provenance in the file's metadata."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

from intentloop_sink.export.provenance import Provenance, Tally
from intentloop_sink.export.row import Row

PROVENANCE = "intentloop.provenance"
"""Key of the metadata."""
_ROW_GROUP = 10_000


class MissingExtraError(Exception):
    """A package is not installed; says which to install."""


class Parquet:
    """Row groups of 10,000; the last bytes are the index, so that half a file is no file.

    Raises MissingExtraError when pyarrow is not installed.
    """

    def __init__(self) -> None:
        try:
            import pyarrow as pa
            from pyarrow import parquet
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "parquet needs pyarrow: pip install 'intentloop[parquet]'"
            ) from error
        self._arrow = pa
        self._schema = _schema(pa)
        self._sink = _Drain()
        self._writer = parquet.ParquetWriter(self._sink, self._schema, compression="zstd")
        self._waiting: list[dict[str, Any]] = []

    def begin(self, provenance: Provenance) -> bytes:  # noqa: ARG002 - see `Writer`
        """Return the first bytes."""
        return self._sink.drain()

    def rows(self, rows: Sequence[Row]) -> bytes:
        """Return a row group when there is enough for one."""
        self._waiting += map(_fields, rows)
        if len(self._waiting) >= _ROW_GROUP:
            self._write()
        return self._sink.drain()

    def end(self, provenance: Provenance, tally: Tally) -> bytes:
        """Return the last row group and the index."""
        if self._waiting:
            self._write()
        self._writer.add_key_value_metadata({PROVENANCE: provenance.as_text(tally)})
        self._writer.close()
        return self._sink.drain()

    def _write(self) -> None:
        table = self._arrow.Table.from_pylist(self._waiting, schema=self._schema)
        self._writer.write_table(table, row_group_size=_ROW_GROUP)
        self._waiting = []


class _Drain(io.RawIOBase):
    """A file to write to, whose bytes are taken away as they come."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def drain(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def _schema(pa: Any) -> Any:
    text, texts = pa.string(), pa.list_(pa.string())
    return pa.schema(
        [
            ("id", text),
            ("input", text),
            ("intent", text),
            ("split", text),
            ("predictedIntent", text),
            ("confidence", pa.float64()),
            ("reviewReasons", texts),
            ("tags", texts),
            ("createdAt", pa.timestamp("ms", tz="UTC")),
            ("channel", text),
            ("language", text),
            ("modelVersion", text),
            ("currentStep", text),
            ("alternatives", text),
            ("sender", text),
            ("sessionId", text),
            ("messageId", text),
        ]
    )


def _fields(row: Row) -> dict[str, Any]:
    from intentloop_sink.export.jsonl import as_json

    alternatives = row.example.alternatives
    return {
        **as_json(row),
        "createdAt": row.example.created_at,
        "alternatives": None if alternatives is None else json.dumps(alternatives),
    }
