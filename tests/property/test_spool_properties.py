"""Any batch comes back from the spool as it went in, whatever its texts hold."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from intentloop_schemas import Batch, ClosedBy, Entry, ReviewReason, Source, TopicPartition
from intentloop_sink.spool import Spool
from intentloop_sink.spool.format import LINES, Header, SpooledRecord, decode, encode, header
from support.batches import entry

texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=("Cs",)), max_size=40)
words = texts.filter(bool)
names = words.map(lambda text: text[:64])
octets = st.none() | st.binary(max_size=40) | texts.map(str.encode)
alternatives = st.lists(
    st.fixed_dictionaries({"intent": words, "confidence": st.floats(0, 1)}), max_size=3
)
positions = st.integers(0, 2**62)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    made = entry(
        draw(positions) % 2**40,
        late=draw(st.booleans()),
        phone_number=draw(names),
        message_text=draw(words),
        intent=draw(words),
        event_id=draw(st.none() | names),
        timestamp=draw(st.integers(946_684_800_000, 4_102_444_800_000)),
        confidence=draw(st.floats(0, 1)),
        session_id=draw(st.none() | texts),
        model_version=draw(st.none() | texts),
        current_step=draw(st.none() | texts),
        language=draw(st.none() | texts),
        channel=draw(st.sampled_from(["whatsapp", "web"])),
        alternatives=draw(st.none() | alternatives),
    )
    record = SpooledRecord(
        draw(positions),
        draw(positions),
        draw(octets | st.just(made.event.phone_number.encode())),
        draw(octets | st.just(made.event.to_json())),
    )
    reasons = tuple(draw(st.sets(st.sampled_from(list(ReviewReason)))))
    return replace(made, record=record, reasons=reasons)


batches = st.builds(
    Batch,
    st.builds(TopicPartition, texts, texts, st.integers(0, 10_000)),
    positions,
    positions,
    positions,
    positions,
    st.sampled_from(ClosedBy),
    st.lists(entries(), max_size=4),
    st.integers(0, 100),
    st.integers(1, 100),
    st.sampled_from(Source),
)


def strict(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return json.loads(text, parse_constant=refuse)


@given(batches)
@settings(max_examples=300, deadline=None)
def test_a_batch_comes_back_as_it_was(batch: Batch) -> None:
    line = encode(batch)
    assert line.count(b"\n") == 1
    assert strict(line.decode())["batch"]["topic"] == batch.partition.topic
    text = LINES.decode(line)
    assert text is not None
    assert decode(text) == batch
    assert header(text) == Header.of(batch)


@given(st.lists(batches, min_size=1, max_size=4), st.data())
@settings(max_examples=60, deadline=None)
def test_damage_costs_at_most_one_line(spooled: list[Batch], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with Spool(Path(folder), "w") as spool:
            spool.append(spooled)
            (path,) = spool.folder.glob("*.jsonl")
        content = bytearray(path.read_bytes())
        index = data.draw(st.integers(0, len(content) - 1))
        content[index] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        hit = content[:index].count(b"\n")
        with Spool(Path(folder), "w") as again:
            found = [s.batch for s in again.read()]
            assert found == spooled[:hit] + spooled[hit + 1 :]
            assert again.damage.lines or again.damage.torn_bytes
