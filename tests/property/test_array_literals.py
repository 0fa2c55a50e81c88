"""Whatever text an event brings, Postgres holds exactly that, in exactly that field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from intentloop_schemas import Entry
from intentloop_sink.encoding import LineEncoder, array_literal, tags
from intentloop_sink.transaction import copy_examples
from support.batches import entry

IMPOSTOR = 'x",needs_review,"'
HOSTILE = [
    IMPOSTOR,
    "NULL",
    "{}",
    "a,b",
    "\\",
    '\\"',
    " ",
    "\t\n\r",
    "\x01",
    "\\N",
    "\\.",
    "पनीर 👍🏽",
]

# What an event can hold: anything but NUL and lone surrogates.
texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=("Cs",)), max_size=40)
hostile_texts = texts | st.sampled_from(HOSTILE)
words = hostile_texts.filter(bool)
alternatives = st.lists(
    st.fixed_dictionaries({"intent": words, "confidence": st.floats(0, 1)}), max_size=3
)
entries = st.builds(
    entry,
    st.integers(0, 10**6),
    phone_number=words,
    message_text=words,
    intent=words,
    event_id=words,
    confidence=st.floats(0, 1),
    session_id=st.none() | hostile_texts,
    message_id=st.none() | hostile_texts,
    language=st.none() | hostile_texts,
    current_step=st.none() | hostile_texts,
    model_version=st.none() | hostile_texts,
    alternatives=st.none() | alternatives,
)

on_one_database = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def cursor(database_url: str) -> Iterator[Any]:
    connection = psycopg2.connect(database_url)
    yield connection.cursor()
    connection.close()


@given(st.lists(hostile_texts, max_size=8))
@example([IMPOSTOR])
@on_one_database
def test_array_literals_come_back_as_they_went(cursor: Any, elements: list[str]) -> None:
    cursor.execute("SELECT %s::text[]", (array_literal(elements),))
    assert cursor.fetchone() == (elements,)


@given(entries)
@example(entry(1, phone_number=IMPOSTOR))
@example(entry(2, phone_number=IMPOSTOR, confidence=0.1, message_text="\\.", session_id=""))
@on_one_database
def test_examples_come_back_as_they_went(cursor: Any, each: Entry) -> None:
    copy_examples(cursor, LineEncoder().line(each).encode())
    cursor.execute(
        """
        SELECT input, intent, "predictedIntent", tags, sender, "eventId", confidence,
               (extract(epoch FROM "createdAt") * 1000)::bigint, "sessionId", "messageId",
               language, "currentStep", "modelVersion", alternatives
        FROM "Example"
        """
    )
    (row,) = cursor.fetchall()
    cursor.connection.rollback()
    event = each.event
    assert row == (
        event.message_text,
        event.intent,
        event.intent,
        tags(each),
        event.phone_number,
        each.event_id,
        event.confidence,
        event.timestamp,
        event.session_id,
        event.message_id,
        event.language,
        event.current_step,
        event.model_version or "",
        None if event.alternatives is None else [a.model_dump() for a in event.alternatives],
    )


def test_a_sender_cannot_flag_a_message(cursor: Any) -> None:
    copy_examples(cursor, LineEncoder().line(entry(1, phone_number=IMPOSTOR)).encode())
    cursor.execute("""SELECT tags[2], tags @> ARRAY['needs_review'] FROM "Example" """)
    assert cursor.fetchone() == (f"source:{IMPOSTOR}", False)
