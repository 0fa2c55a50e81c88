"""The recomputation that the oracle trusts: what comes behind moves nobody else's watermark."""

from __future__ import annotations

import json

from support.recompute import Expected, LogRecord, Range, recompute
from support.traffic import VALID

START = 1_700_000_000_000


def record(offset: int, seconds: int, text: str = "hello") -> LogRecord:
    at = START + seconds * 1000
    event = {
        "phoneNumber": "+15550100",
        "messageText": text,
        "intent": "greet",
        "confidence": 0.9,
        "timestamp": at,
        "eventId": f"{text}-{seconds}",
    }
    return LogRecord(0, offset, at, json.dumps(event).encode(), VALID)


LOG = [record(0, 0), record(1, 120), record(2, 60), record(3, 1), record(4, 60)]


def late(expected: Expected) -> int:
    return sum(row[4] for row in expected.windows.values())


def test_an_event_is_late_behind_a_newer_one() -> None:
    """Both that follow minute 2; what is sent twice counts once."""
    assert late(recompute(LOG)) == 2


def test_what_came_behind_makes_nothing_else_late() -> None:
    """The second event of minute 1 was stored when minute 2 was not known of."""
    expected = recompute(LOG, behind=[Range(0, 1, 2)])
    assert late(expected) == 1
    assert len(expected.examples) == 4
    assert expected.duplicates == 1


def test_what_came_behind_is_judged_in_its_place() -> None:
    assert late(recompute(LOG, behind=[Range(0, 1, 3)])) == 0
    assert late(recompute(LOG, behind=[Range(0, 2, 3)])) == 2
