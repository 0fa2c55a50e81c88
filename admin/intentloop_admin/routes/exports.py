"""Exports: a dataset as a file that other tools read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import StreamingResponse

from intentloop_admin.problems import ProblemError, documented, try_later
from intentloop_admin.routes.datasets import existing
from intentloop_admin.routes.dependencies import InPath, ServicesOf
from intentloop_admin.routes.examples import allow
from intentloop_admin.security.access import Where, requires
from intentloop_admin.security.keys import Key
from intentloop_admin.security.scopes import Scope
from intentloop_admin.storage import Storage
from intentloop_admin.stores import too_slow
from intentloop_sink import DatabaseUnavailableError
from intentloop_sink.catalogue import ExampleFilter, SlowQueryError
from intentloop_sink.export import Export, Format, MissingExtraError, Selection, Side
from intentloop_sink.export.row import DEFAULT_TEST_SHARE

PROVENANCE = "X-Provenance"

router = APIRouter(prefix="/api/training/datasets/{dataset_id}/export", tags=["Datasets"])


class ExportQuery(ExampleFilter):
    """Which examples, and how they are written."""

    format: Format = Format.JSONL
    split: Side | None = Field(None, description="Only the examples of this side.")
    test_share: float = Field(
        DEFAULT_TEST_SHARE, ge=0, le=1, description="About how many texts are to test with."
    )

    def selection(self, dataset_id: str, key: Key) -> Selection:
        """Return what is meant, as far as a key may see it."""
        others = {"format", "split", "test_share"}
        wanted = ExampleFilter.model_validate(self.model_dump(exclude=others))
        return Selection(dataset_id, wanted, self.split, self.test_share, key.may(Scope.PII))


@router.get(
    "",
    summary="Export a dataset",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "The file.",
            "content": {each.media_type: {"schema": {"type": "string"}} for each in Format},
            "headers": {
                PROVENANCE: {
                    "description": "As JSON: what was selected, from what state of the dataset.",
                    "schema": {"type": "string"},
                }
            },
        },
        **documented(401, 403, 404, 409, 422, 429, 503),
    },
)
async def export_dataset(
    services: ServicesOf,
    dataset_id: InPath,
    wanted: Annotated[ExportQuery, Query()],
    key: Annotated[Key, requires(Scope.READ, Where.PATH)],
) -> StreamingResponse:
    """Stream a dataset as it is now. Without the scope `pii` senders are masked.

    A text is always on the same side of the split, and never on both. What ends early is broken:
    ask again.
    """
    allow(wanted, key)
    await existing(services, dataset_id)
    selection = wanted.selection(dataset_id, key)
    file = _File(services.storage, selection, wanted.format)
    try:
        headers = await asyncio.to_thread(file.open)
    except DatabaseUnavailableError as error:
        raise try_later(f"{error}; try again.") from error
    except SlowQueryError as error:
        raise too_slow(error) from error
    except MissingExtraError as error:
        raise ProblemError(HTTPStatus.CONFLICT, f"{error} where the API runs.") from error
    return StreamingResponse(file.pieces(), headers=headers, media_type=wanted.format.media_type)


class _File:
    """An export between its question and its last byte."""

    def __init__(self, storage: Storage, selection: Selection, kind: Format) -> None:
        self._storage = storage
        self._selection = selection
        self._kind = kind
        self._opened = ExitStack()

    def open(self) -> dict[str, str]:
        """Begin, so far that what can go wrong has; return the headers. Blocks."""
        with ExitStack() as opened:
            source = opened.enter_context(self._storage.snapshot())
            export = Export(self._selection, self._kind, source)
            self._pieces: Iterator[bytes] = export.pieces()
            self._first = next(self._pieces)
            self._opened = opened.pop_all()
        name = f"{self._selection.dataset_id}-{source.as_of:%Y%m%dT%H%M%SZ}{self._kind.suffix}"
        return {
            "Content-Disposition": f'attachment; filename="{name}"',
            PROVENANCE: export.provenance.as_text(),
        }

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the bytes; whoever takes them may take their time, or leave."""
        with self._opened:
            piece: bytes | None = self._first
            while piece is not None:
                if piece:
                    yield piece
                piece = await asyncio.to_thread(next, self._pieces, None)
