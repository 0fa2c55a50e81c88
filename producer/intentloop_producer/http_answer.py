"""What the admin backend's answer means for the events of a request. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from intentloop_schemas.masking import masked_text

LONGEST_RETRY_AFTER = 3_600.0
"""Seconds that the backend may ask to be left alone for."""
_SHOWN_CHARACTERS = 200
_SUCCESSES = range(200, 300)
_REDIRECTS = range(300, 400)
_SERVER_ERRORS = range(500, 600)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Answer(NamedTuple):
    """An HTTP answer; the names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True, slots=True)
class Settled:
    """The backend has judged every event: those of `failures`, by index, it will never take."""

    failures: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Divide:
    """Refused as a whole, for what may be in a part of it only."""

    why: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Not taken now. `is_lasting`: until somebody changes something."""

    why: str
    is_lasting: bool = False
    retry_after: float | None = None
    """Seconds that the backend asks for."""


Outcome = Settled | Divide | Wait


def outcome_of(answer: Answer, count: int, now: float) -> Outcome:
    """Return what an answer to `count` events means; `now` in epoch seconds."""
    match answer.status:
        case HTTPStatus.OK | HTTPStatus.MULTI_STATUS:
            return _taken(answer, count)
        case HTTPStatus.UNPROCESSABLE_ENTITY:
            failures = _failures(_json(answer), count)
            is_complete = failures is not None and len(failures) == count
            return Settled(failures or {}) if is_complete else Divide(_described(answer))
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return Divide(_described(answer))
        case _:
            return Wait(_advice(answer), _is_lasting(answer.status), _retry_after(answer, now))


def refusal_of(answer: Answer) -> str | None:
    """Return why a report was not taken, None when it was."""
    return None if answer.status in _SUCCESSES else _described(answer)


def _taken(answer: Answer, count: int) -> Outcome:
    """Believe what accounts for every event: a login page comes with status 200 as well."""
    body = _json(answer)
    failures = _failures(body, count) if body.get("errors") else {}
    claim = (body.get("success"), body.get("count"))
    if failures is None or claim != (not failures, count - len(failures)):
        return Wait(
            f"its answer ({answer.status}) is not that of intentloop: check ADMIN_BACKEND_URL",
            is_lasting=True,
        )
    return Settled(failures)


def _failures(body: Mapping[str, Any], count: int) -> dict[int, str] | None:
    """Return why items are invalid, by index; None when that cannot be told."""
    errors = body.get("errors")
    if not isinstance(errors, Sequence) or isinstance(errors, str):
        return None
    failures: dict[int, str] = {}
    for item in errors:
        match item:
            case {"index": int(index), "error": str(why)} if 0 <= index < count:
                failures[index] = _readable(why)
            case _:
                return None
    return failures


def _is_lasting(status: int) -> bool:
    passing = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
    return status not in _SERVER_ERRORS and status not in passing


def _advice(answer: Answer) -> str:
    what = _described(answer)
    if answer.status in _REDIRECTS:
        return (
            f"it redirects to {_location(answer)} ({answer.status}), which is not followed: set "
            "ADMIN_BACKEND_URL to where the API is"
        )
    match answer.status:
        case HTTPStatus.UNAUTHORIZED:
            return f"{what}: check ADMIN_BACKEND_API_KEY"
        case HTTPStatus.FORBIDDEN:
            return f"{what}: ADMIN_BACKEND_API_KEY needs the right to send conversations"
        case HTTPStatus.NOT_FOUND | HTTPStatus.METHOD_NOT_ALLOWED | HTTPStatus.GONE:
            return f"{what}: check ADMIN_BACKEND_URL"
        case _:
            return what


def _described(answer: Answer) -> str:
    """Return status and reason, as far as the body tells one."""
    try:
        status = f"{answer.status} {HTTPStatus(answer.status).phrase}"
    except ValueError:
        status = str(answer.status)
    body = _json(answer)
    texts = (body.get(name) for name in ("detail", "error", "message", "title"))
    detail = next((_readable(text) for text in texts if isinstance(text, str) and text), "")
    return f"it answers {status}" + (f" ({detail})" if detail else "")


def _location(answer: Answer) -> str:
    """Return where a redirect leads, without what may be secret in it."""
    try:
        parts = urlsplit(answer.headers.get("location", ""))
    except ValueError:
        return "an invalid address"
    host = parts.netloc.rpartition("@")[2]
    return _readable(parts._replace(netloc=host, query="", fragment="").geturl()) or "nowhere"


def _retry_after(answer: Answer, now: float) -> float | None:
    """Return the seconds of Retry-After, which may be a date (RFC 9110, section 10.2.3)."""
    given = answer.headers.get("retry-after", "").strip()
    if given.isascii() and given.isdecimal():
        seconds = float(given)
    else:
        try:
            seconds = parsedate_to_datetime(given).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return min(max(0.0, seconds), LONGEST_RETRY_AFTER)


def _json(answer: Answer) -> Mapping[str, Any]:
    try:
        body = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _readable(text: str) -> str:
    """Return a foreign text for the log: on one line, short, and without phone numbers."""
    return masked_text(_CONTROL.sub(" ", text))[:_SHOWN_CHARACTERS]
