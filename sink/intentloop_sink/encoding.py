"""Postgres' text formats: lines for COPY, array literals, timestamps.

A line is made once per event, so most of it comes out of small caches and the text of ordinary
events is copied as it is. Anything unusual in it takes the slow road, field by field.

What COPY or an array literal must escape (backslash, tab, line ends, quote) JSON must escape too,
with a backslash. So an event whose JSON has no backslash has nothing to escape.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from json import dumps

from intentloop_schemas import AlternativeFields, Entry, EventFields
from intentloop_schemas.confidence import to_percent
from intentloop_schemas.review import ReviewReason

COPY_COLUMNS = (
    "id",
    "input",
    "sender",
    "eventId",
    "tags",
    "createdAt",
    "confidence",
    "reviewReasons",
    "sessionId",
    "messageId",
    "alternatives",
    "datasetId",
    "intent",
    "predictedIntent",
    "channel",
    "language",
    "modelVersion",
    "currentStep",
)
"""The columns of a line, in order. The id comes first, so that sorted lines are in id order."""

NEEDS_REVIEW = "needs_review"

_NULL = "\\N"
_BACKSLASH = ord("\\")
_CACHED = 8192
_THOUSANDTHS = [f".{milliseconds:03d}+00" for milliseconds in range(1000)]
_PERCENT_TAGS = [f'"confidence:{percent}"' for percent in range(101)]
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})

Labels = tuple[str, str, str, str | None, str | None, str | None]
"""Dataset, intent, channel, language, model version, step: few values, many events."""


def array_literal(elements: Iterable[str]) -> str:
    """Return a text array in Postgres' notation, every element quoted."""
    return "{" + ",".join(map(_quoted, elements)) + "}"


def timestamptz(timestamp_ms: int) -> str:
    """Return epoch milliseconds in Postgres' notation, exact to the millisecond."""
    seconds, milliseconds = divmod(timestamp_ms, 1000)
    return f"{_second(seconds)}.{milliseconds:03d}+00"


def copy_field(value: str | None) -> str:
    """Return a value as a field of COPY's text format."""
    return _NULL if value is None else value.translate(_ESCAPES)


def alternatives_json(alternatives: Iterable[AlternativeFields]) -> str:
    """Return the NLU's other guesses as a JSON array."""
    guesses = (
        f'{{"intent":{dumps(a.intent)},"confidence":{a.confidence!r}}}' for a in alternatives
    )
    return f"[{','.join(guesses)}]"


def tags(entry: Entry) -> list[str]:
    """Return the tags of an example."""
    event = entry.event
    return [
        f"confidence:{to_percent(event.confidence)}",
        f"source:{event.phone_number}",
        f"timestamp:{event.timestamp}",
        *([NEEDS_REVIEW] if entry.reasons else []),
    ]


class LineEncoder:
    """Turns entries into lines for `COPY "Example"`. It only keeps caches of bounded size.

    Threads may share it: what two of them put into a cache at once is the same.
    """

    def __init__(self) -> None:
        self._labels = _LabelCache()
        self._seconds = _SecondCache()
        self._reasons = _ReasonCache()

    def line(self, entry: Entry) -> str:
        """Return the line of one entry, newline included."""
        event, reasons, json = entry.event, entry.reasons, entry.record.value
        if json is None or _BACKSLASH in json:
            return self._escaped_line(entry)
        sender = event.phone_number
        session, message, alternatives = event.session_id, event.message_id, event.alternatives
        labels = self._labels[_labels_of(event)]
        confidence, timestamp = event.confidence, event.timestamp
        seconds = timestamp // 1000
        flag, reasons_field = self._reasons[reasons] if reasons else ("", "{}")
        return (
            f"{entry.example_id}\t{event.message_text}\t{sender}\t{entry.event_id}"
            f'\t{{{_PERCENT_TAGS[int(100 * confidence + 0.5)]},"source:{sender}"'
            f',"timestamp:{timestamp}"{flag}}}'
            f"\t{self._seconds[seconds]}{_THOUSANDTHS[timestamp - seconds * 1000]}"
            f"\t{confidence!r}\t{reasons_field}"
            f"\t{_NULL if session is None else session}\t{_NULL if message is None else message}"
            f"\t{_NULL if alternatives is None else _alternatives(alternatives)}\t{labels}\n"
        )

    def _escaped_line(self, entry: Entry) -> str:
        event = entry.event
        fields = (
            entry.example_id,
            copy_field(event.message_text),
            copy_field(event.phone_number),
            copy_field(entry.event_id),
            copy_field(array_literal(tags(entry))),
            timestamptz(event.timestamp),
            repr(event.confidence),
            array_literal(entry.reasons),
            copy_field(event.session_id),
            copy_field(event.message_id),
            _NULL if event.alternatives is None else _alternatives(event.alternatives),
            _label_fields(_labels_of(event)),
        )
        return "\t".join(fields) + "\n"


class _LabelCache(dict[Labels, str]):
    def __missing__(self, labels: Labels) -> str:
        _make_room(self)
        fields = self[labels] = _label_fields(labels)
        return fields


class _SecondCache(dict[int, str]):
    def __missing__(self, seconds: int) -> str:
        _make_room(self)
        text = self[seconds] = _second(seconds)
        return text


class _ReasonCache(dict[tuple[ReviewReason, ...], tuple[str, str]]):
    def __missing__(self, reasons: tuple[ReviewReason, ...]) -> tuple[str, str]:
        fields = self[reasons] = (f',"{NEEDS_REVIEW}"', array_literal(reasons))
        return fields


def _make_room(cache: _LabelCache | _SecondCache) -> None:
    if len(cache) >= _CACHED:
        cache.clear()


def _labels_of(event: EventFields) -> Labels:
    return (
        event.dataset_id,
        event.intent,
        event.channel,
        event.language,
        event.model_version,
        event.current_step,
    )


def _label_fields(labels: Labels) -> str:
    dataset, intent, channel, language, model_version, step = labels
    fields = (dataset, intent, intent, channel, language, model_version or "", step)
    return "\t".join(map(copy_field, fields))


def _alternatives(alternatives: Iterable[AlternativeFields]) -> str:
    return copy_field(alternatives_json(alternatives))


def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _quoted(element: str) -> str:
    escaped = element.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
