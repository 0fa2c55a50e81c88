"""Valid events of every kind, for property tests."""

from __future__ import annotations

import string
from typing import Any

from hypothesis import strategies as st

from intentloop_schemas import Event
from intentloop_schemas.event import MAX_TIMESTAMP_MS, MIN_TIMESTAMP_MS


def text(low: int, high: int) -> st.SearchStrategy[str]:
    # Everything that UTF-8 can carry, but for NUL.
    return st.text(
        st.characters(codec="utf-8", exclude_characters="\0"), min_size=low, max_size=high
    )


def or_absent(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


CONFIDENCES = st.floats(0, 1)
LABELS = or_absent(text(0, 128))
ALTERNATIVES = st.lists(
    st.fixed_dictionaries({"intent": text(1, 128), "confidence": CONFIDENCES}), max_size=20
)
EVENTS = st.fixed_dictionaries(
    {
        "phone_number": text(1, 64),
        "message_text": text(1, 200),
        "intent": text(1, 128),
        "confidence": CONFIDENCES,
        "timestamp": st.integers(MIN_TIMESTAMP_MS, MAX_TIMESTAMP_MS),
        "current_step": LABELS,
        "event_id": or_absent(text(1, 64)),
        "channel": st.from_regex(r"[a-z][a-z0-9_-]{0,63}", fullmatch=True),
        "language": LABELS,
        "model_version": LABELS,
        "session_id": LABELS,
        "message_id": LABELS,
        "alternatives": or_absent(ALTERNATIVES),
        "dataset_id": st.text(f"{string.ascii_lowercase}{string.digits}-", min_size=1, max_size=64),
    }
).map(lambda fields: Event.model_validate(fields, by_name=True))
