"""What Python contestants share: a row as a line for COPY, sums of windows, one write of both.

It needs nothing but psycopg2, so it runs in every contestant's environment.
"""

from __future__ import annotations

import io
import re
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from hashlib import sha256
from typing import Any

from psycopg2.extras import execute_values

THRESHOLD = 0.7
WINDOW_MS = 30_000
HOUR_MS = 3_600_000
Key = tuple[str, str, str, str, int, int]
"""Dataset, intent, channel, model version, start of the window in epoch ms, its seconds."""
Sums = list[Any]

COPY = (
    'COPY "Example" (id, input, sender, "eventId", tags, "createdAt", confidence, "reviewReasons",'
    ' "datasetId", intent, "predictedIntent", channel, "modelVersion", "currentStep") FROM STDIN'
)
_COPY_BYTES = 1 << 20
_COLUMNS = (
    "dataset_id, intent, channel, model_version, window_start, window_seconds, n, flagged_n, "
    "low_confidence_n, fallback_n, late_n, confidence_sum_micros, confidence_sumsq_micros, "
    "confidence_min_micros, confidence_max_micros, confidence_histogram, first_event_at, "
    "last_event_at"
)
_TEMPLATE = (
    "(%s, %s, %s, %s, to_timestamp(%s / 1000.0), %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, "
    "%s::bigint[], to_timestamp(%s / 1000.0), to_timestamp(%s / 1000.0))"
)
_ADDED = (
    "n",
    "flagged_n",
    "low_confidence_n",
    "fallback_n",
    "late_n",
    "confidence_sum_micros",
    "confidence_sumsq_micros",
)
_HISTOGRAM = ", ".join(
    f"t.confidence_histogram[{i}] + excluded.confidence_histogram[{i}]" for i in range(1, 21)
)
_UPSERT = (
    f"INSERT INTO {{table}} AS t ({_COLUMNS}) VALUES %s ON CONFLICT (dataset_id, window_start, "
    "intent, channel, model_version, window_seconds) DO UPDATE SET "
    + ", ".join(f"{name} = t.{name} + excluded.{name}" for name in _ADDED)
    + ", confidence_min_micros = least(t.confidence_min_micros, excluded.confidence_min_micros)"
    ", confidence_max_micros = greatest(t.confidence_max_micros, excluded.confidence_max_micros)"
    f", confidence_histogram = ARRAY[{_HISTOGRAM}]"
    ", first_event_at = least(t.first_event_at, excluded.first_event_at)"
    ", last_event_at = greatest(t.last_event_at, excluded.last_event_at)"
)
_SPECIAL = re.compile(r'[\\\t\n\r"]').search
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


@cache
def say_ready() -> None:
    """Tell the bench, once, that the first record is about to be read."""
    sys.stdout.write(f"READY {time.time():.3f}\n")
    sys.stdout.flush()


def line(event: dict[str, Any]) -> str:
    """Return an event as a line for COPY."""
    dataset, timestamp = event.get("datasetId", "ds-auto-training"), event["timestamp"]
    event_id, sender, text = event["eventId"], event["phoneNumber"], event["messageText"]
    intent, confidence, step = event["intent"], event["confidence"], event.get("currentStep")
    quoted = sender
    if _SPECIAL(f"{text}{sender}{event_id}{intent}{step}"):
        quoted = _escaped(sender.replace("\\", "\\\\").replace('"', '\\"'))
        text, sender, event_id, intent = map(_escaped, (text, sender, event_id, intent))
        step = step and _escaped(step)
    seconds, milliseconds = divmod(timestamp, 1000)
    digest = sha256(f"{dataset}\n{event['eventId']}".encode()).hexdigest()
    flag, reasons = (
        (',"needs_review"', "{low_confidence}") if confidence < THRESHOLD else ("", "{}")
    )
    return (
        f"ex-{seconds}-{digest[:16]}\t{text}\t{sender}\t{event_id}"
        f'\t{{"confidence:{int(100 * confidence + 0.5)}","source:{quoted}"'
        f',"timestamp:{timestamp}"{flag}}}'
        f"\t{_second(seconds)}.{milliseconds:03d}+00\t{confidence!r}\t{reasons}\t{dataset}"
        f"\t{intent}\t{intent}\t{event.get('channel', 'whatsapp')}"
        f"\t{event.get('modelVersion') or ''}\t{chr(92) + 'N' if step is None else step}\n"
    )


def window_key(event: dict[str, Any]) -> Key:
    """Return the key of the window that an event belongs to."""
    timestamp = event["timestamp"]
    return (
        event.get("datasetId", "ds-auto-training"),
        event["intent"],
        event.get("channel", "whatsapp"),
        event.get("modelVersion") or "",
        timestamp - timestamp % WINDOW_MS,
        30,
    )


def blank() -> Sums:
    """Return the sums of no events."""
    return [0, 0, 0, 0, 0, 0, 0, 1_000_000, 0, [0] * 20, 2**62, 0]


def add(sums: Sums, confidence: float, timestamp: int) -> Sums:
    """Add an event to the sums of its window, in place."""
    micros = int(1e6 * confidence + 0.5)
    low = confidence < THRESHOLD
    sums[0] += 1
    sums[1] += low
    sums[2] += low
    sums[5] += micros
    sums[6] += micros * micros
    sums[7] = min(sums[7], micros)
    sums[8] = max(sums[8], micros)
    sums[9][min(micros // 50_000, 19)] += 1
    sums[10] = min(sums[10], timestamp)
    sums[11] = max(sums[11], timestamp)
    return sums


def merge(sums: Sums, other: Sums) -> Sums:
    """Return the sums of both sets of events."""
    return [
        *(a + b for a, b in zip(sums[:7], other[:7], strict=True)),
        min(sums[7], other[7]),
        max(sums[8], other[8]),
        [a + b for a, b in zip(sums[9], other[9], strict=True)],
        min(sums[10], other[10]),
        max(sums[11], other[11]),
    ]


def add_up(events: Iterable[dict[str, Any]]) -> dict[Key, Sums]:
    """Return the sums of every window that events touch."""
    windows: dict[Key, Sums] = {}
    for event in events:
        key = window_key(event)
        sums = windows.get(key)
        if sums is None:
            sums = windows[key] = blank()
        add(sums, event["confidence"], event["timestamp"])
    return windows


def hours(windows: dict[Key, Sums]) -> dict[Key, Sums]:
    """Return the same sums by hour."""
    longer: dict[Key, Sums] = {}
    for key, sums in windows.items():
        hour = (*key[:4], key[4] - key[4] % HOUR_MS, 3600)
        longer[hour] = merge(longer[hour], sums) if hour in longer else sums
    return longer


def write(cursor: Any, lines: Sequence[str], windows: dict[Key, Sums]) -> None:
    """Write rows and add sums in the open transaction, everything in the order of its key."""
    copy(cursor, lines)
    upsert(cursor, "intent_window_stats", windows)
    upsert(cursor, "intent_hourly_stats", hours(windows))


def copy(cursor: Any, lines: Sequence[str]) -> None:
    """Write rows in the open transaction."""
    cursor.copy_expert(COPY, io.BytesIO("".join(sorted(lines)).encode()), _COPY_BYTES)


def upsert(cursor: Any, table: str, windows: dict[Key, Sums]) -> None:
    """Add sums to a table in the open transaction."""
    rows = [(*key, *windows[key]) for key in sorted(windows)]
    execute_values(cursor, _UPSERT.format(table=table), rows, _TEMPLATE, page_size=len(rows))


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES)


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
