"""Dead letters for a person to read: senders hidden unless asked for, nothing a terminal obeys."""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime

from intentloop_cli import masking
from intentloop_schemas import DeadLetter, DeadLetterReason
from intentloop_schemas.dead_letter import Place
from intentloop_schemas.masking import masked, masked_text
from intentloop_stream.letter_reader import Found

_SHOWN_BYTES = 4_096
_SHOWN_CHARACTERS = 65_536
_BYTES_PER_LINE = 16
_COLUMNS = ("written", "partition", "offset", "reason", "retried", "sender", "error")


class Overview:
    """The newest or oldest letters and the counts of all, in one pass and bounded memory."""

    def __init__(self, letters: Iterable[Found], *, limit: int, oldest_first: bool) -> None:
        self.counts: Counter[DeadLetterReason] = Counter()
        choose = heapq.nsmallest if oldest_first else heapq.nlargest
        self.shown = choose(
            limit,
            (found._replace(letter=_without_value(found.letter)) for found in self._count(letters)),
            key=lambda found: (found.written_at, found.partition, found.offset),
        )

    def _count(self, letters: Iterable[Found]) -> Iterator[Found]:
        for found in letters:
            self.counts[found.letter.reason] += 1
            yield found

    def table(self, retried: Collection[Place]) -> str:
        """Return the shown letters, one a line, the error last."""
        rows = [_COLUMNS, *self._rows(retried)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS) - 1)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True))
            for row in rows
        )

    def _rows(self, retried: Collection[Place]) -> Iterator[tuple[str, ...]]:
        for found in self.shown:
            yield _row(found, "yes" if found.letter.place in retried else "no")

    def summary(self) -> str:
        """Return how many letters there are, by reason."""
        reasons = ", ".join(f"{reason} {count}" for reason, count in self.counts.most_common())
        return f"Dead letters: {self.counts.total()} ({reasons}), {len(self.shown)} shown."


def description(letter: DeadLetter, *, is_whole: bool, reveal: bool) -> str:
    """Return everything that is known of a letter, ending with the bytes as JSON or hex dump."""
    headers = [(name, value.decode(errors="replace")) for name, value in letter.headers()]
    headers.append(("dlq.timestamp as time", _time(letter.timestamp)))
    key = _text(letter.key)
    headers.append(("key", "none" if letter.key is None else key))
    if not reveal:
        hidden = {"dlq.error": _hide_in_text, "key": _hide}
        headers = [(n, hidden[n](v, key) if n in hidden else v) for n, v in headers]
    width = max(len(name) for name, _ in headers)
    lines = [f"{name:<{width}}  {printable(value)}" for name, value in headers]
    return "\n".join([*lines, "", _body(letter, is_whole=is_whole, reveal=reveal)])


def printable(text: str) -> str:
    """Return a text without characters that move a cursor or turn the writing around."""
    return "".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in text)


def hex_dump(data: bytes) -> str:
    """Return offset, bytes and their characters, 16 bytes a line."""
    return "\n".join(
        f"{start:08x}  {_hex(line):<47}  {_characters(line)}"
        for start in range(0, len(data), _BYTES_PER_LINE)
        for line in [data[start : start + _BYTES_PER_LINE]]
    )


def _row(found: Found, retried: str) -> tuple[str, ...]:
    letter = found.letter
    sender = _text(letter.key)
    cells = (
        _time(found.written_at),
        str(letter.partition),
        str(letter.offset),
        str(letter.reason),
        retried,
        masked(sender) if sender else "",
        masked_text(letter.error, [sender]).replace("\n", " "),
    )
    return tuple(map(printable, cells))


def _body(letter: DeadLetter, *, is_whole: bool, reveal: bool) -> str:
    if letter.value is None:
        return "The record has no value."
    size = len(letter.value)
    text = _pretty(letter, reveal=reveal) if is_whole else None
    if text is not None:
        title = f"Value, {size} bytes, as JSON:"
        return f"{title}\n{printable(text[:_SHOWN_CHARACTERS])}{_more(text)}"
    data = letter.value if reveal else masking.masked_bytes(letter.value, letter.key)
    known = f"{size} bytes" if is_whole else f"the first {size} of {letter.truncated} bytes"
    rest = f"\n... {size - _SHOWN_BYTES} more bytes" if size > _SHOWN_BYTES else ""
    return f"Value, {known}:\n{hex_dump(data[:_SHOWN_BYTES])}{rest}"


def _pretty(letter: DeadLetter, *, reveal: bool) -> str | None:
    """Return the value as indented JSON, None when it is no JSON."""
    try:
        value = json.loads(letter.value or b"")
        if not reveal:
            key = _text(letter.key)
            value = masking.masked_json(value, [key, masking.sender_of(value) or ""])
        return json.dumps(value, indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None


def _more(text: str) -> str:
    hidden = len(text) - _SHOWN_CHARACTERS
    return f"\n... {hidden} more characters: `intentloop dlq export`" if hidden > 0 else ""


def _hide(text: str, _: str) -> str:
    return masked(text)


def _hide_in_text(text: str, key: str) -> str:
    return masked_text(text, [key])


def _without_value(letter: DeadLetter) -> DeadLetter:
    return letter.model_copy(update={"value": None})


def _time(epoch_ms: int) -> str:
    try:
        return datetime.fromtimestamp(epoch_ms / 1000, UTC).isoformat(" ", "seconds")
    except (ValueError, OverflowError, OSError):
        return str(epoch_ms)


def _text(data: bytes | None) -> str:
    return (data or b"").decode(errors="replace")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _hex(data: bytes) -> str:
    return data.hex(" ")


def _characters(data: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data)  # noqa: PLR2004
