"""From the body of a request to its conversations, each as the JSON of a record in Kafka."""

from __future__ import annotations

import json
from typing import Annotated, Any

import msgspec

MAX_ITEMS = 1_000
_FEW_DIGITS = 400
"""Python refuses to read numbers of thousands of digits; so many are far out of range already."""


class _Bulk(msgspec.Struct):
    conversations: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=MAX_ITEMS)]


_bulk = msgspec.json.Decoder(_Bulk).decode


class MalformedBodyError(ValueError):
    """The body as a whole cannot be read; `is_json` when it is at least JSON."""

    def __init__(self, message: str, *, is_json: bool) -> None:
        super().__init__(message)
        self.is_json = is_json


def split_conversations(body: bytes) -> list[bytes]:
    """Return the items of a bulk request as they were sent; what they are worth is not looked at.

    Raises MalformedBodyError when there is no list of at most 1,000.
    """
    try:
        return [bytes(item) for item in _bulk(body).conversations]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # Python's reader takes more (NaN, halves of characters), so that each item is judged alone.
        return [json.dumps(item).encode() for item in _listed(_parsed(body))]


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
