"""From the body of a request to events, and to what is wrong with those that are none."""

from __future__ import annotations

import json
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, FailFast, Field, TypeAdapter, ValidationError

from intentloop_schemas import Event, explain

MAX_ITEMS = 1_000
_FEW_DIGITS = 400
"""Python refuses to read numbers of thousands of digits; so many are far out of range already."""


class _Bulk(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    # Whatever is wrong is looked for item by item.
    conversations: Annotated[list[Event], FailFast(), Field(max_length=MAX_ITEMS)]


_bulk = TypeAdapter(_Bulk).validator
_event = TypeAdapter(Event).validator


class Invalid(NamedTuple):
    """An item that is no event, and why."""

    error: str


class MalformedBodyError(ValueError):
    """The body as a whole cannot be read; `is_json` when it is at least JSON."""

    def __init__(self, message: str, *, is_json: bool) -> None:
        super().__init__(message)
        self.is_json = is_json


def read_conversations(body: bytes) -> list[Event | Invalid]:
    """Return one item for each conversation. Takes about 3 microseconds an event.

    Raises MalformedBodyError when there are not 1 to 1,000.
    """
    try:
        # All at once: most requests are valid throughout.
        return list(_bulk.validate_json(body).conversations)
    except ValidationError:
        return [_read_item(item) for item in _listed(_parsed(body))]


def _read_item(item: Any) -> Event | Invalid:
    try:
        event: Event = _event.validate_python(item, strict=True)
    except ValidationError as error:
        return Invalid(explain(error))
    return event


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body.decode(), parse_int=_integer)
    except UnicodeDecodeError as error:
        message = f"the body is not UTF-8: byte {error.start} begins no character"
    except json.JSONDecodeError as error:
        message = f"the body is not JSON: {error}"
    except RecursionError:
        message = "the body is nested too deeply; conversations hold no such thing"
    raise MalformedBodyError(message, is_json=False)


def _listed(parsed: Any) -> list[Any]:
    items = parsed.get("conversations") if isinstance(parsed, dict) else None
    if not isinstance(items, list):
        raise MalformedBodyError(
            'send a JSON object {"conversations": [...]} with 1 to 1,000 of them', is_json=True
        )
    if len(items) > MAX_ITEMS:
        raise MalformedBodyError(
            f"conversations: there are {len(items)}; send at most {MAX_ITEMS} at a time",
            is_json=True,
        )
    return items


def _integer(digits: str) -> int:
    return int(digits[:_FEW_DIGITS])
