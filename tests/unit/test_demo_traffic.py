"""The demo's traffic: reproducible, plausible, and with the mishaps that are promised."""

import json
from collections import Counter, defaultdict
from random import Random

import pytest
from pydantic import ValidationError

from intentloop_demo.live import LiveTraffic
from intentloop_demo.traffic import CHANNELS, Customers, damaged_records, deliver, play
from intentloop_demo.typing_noise import as_typed
from intentloop_demo.utterances import load_utterances, split
from intentloop_schemas import Event

UNTIL = 1_800_000_000_000
UNSEEN = split(load_utterances()).held_out


def traffic(seed, conversations=1000):
    rng = Random(seed)
    return play(Customers(UNSEEN, rng), conversations, until_ms=UNTIL, minutes=6, rng=rng)


def test_the_same_seed_gives_the_same_traffic():
    assert traffic(5) == traffic(5)
    assert traffic(5) != traffic(6)


def test_event_time_covers_the_minutes_before_now():
    timestamps = [delivery.message.timestamp for delivery in traffic(1)]

    assert max(timestamps) < UNTIL
    assert UNTIL - min(timestamps) == pytest.approx(6 * 60_000, rel=0.05)


def test_messages_arrive_after_they_were_written_and_in_order():
    deliveries = traffic(1)

    assert all(delivery.at > delivery.message.timestamp for delivery in deliveries)
    assert [d.at for d in deliveries] == sorted(d.at for d in deliveries)


def test_four_channels_three_languages():
    messages = [delivery.message for delivery in traffic(1)]
    channels = Counter(message.channel for message in messages)

    assert set(channels) == set(CHANNELS) == {"whatsapp", "telegram", "web", "rcs"}
    assert channels.most_common(1)[0][0] == "whatsapp"
    assert {message.language for message in messages} == {"en", "hi", "hi-Latn"}


def test_a_second_delivery_is_the_same_message():
    deliveries = traffic(1)
    copies = defaultdict(list)
    for delivery in deliveries:
        copies[delivery.message.message_id].append(delivery)
    twice = [both for both in copies.values() if len(both) > 1]

    assert 0.005 < len(twice) / len(copies) < 0.02
    for first, second in twice:
        assert first.message == second.message
        assert (first.again, second.again) == (False, True)
    assert sum(delivery.again for delivery in deliveries) == len(twice)


def test_some_messages_are_late():
    delays = [d.at - d.message.timestamp for d in traffic(1) if not d.again]

    assert 0 < sum(delay > 20_000 for delay in delays) < 0.03 * len(delays)


def test_a_conversation_has_one_sender_and_goes_forward():
    sessions = defaultdict(list)
    for delivery in traffic(2):
        if not delivery.again:
            sessions[delivery.message.session_id].append(delivery.message)
    assert any(len(messages) > 2 for messages in sessions.values())
    for messages in sessions.values():
        messages.sort(key=lambda message: message.timestamp)
        assert len({(m.sender, m.channel, m.language) for m in messages}) == 1
        assert len({m.message_id for m in messages}) == len(messages)
        steps = ["welcome", "main_menu", "follow_up", "confirm", "closing"]
        assert [m.step for m in messages] == sorted((m.step for m in messages), key=steps.index)


def test_phone_numbers_cannot_exist():
    senders = {d.message.sender for d in traffic(1) if d.message.channel in ("whatsapp", "rcs")}

    assert all(sender.startswith("+910") and len(sender) == 13 for sender in senders)


def test_damaged_records_are_no_events():
    records = damaged_records(200, Random(1))

    assert len(set(records)) > 5
    for record in records:
        with pytest.raises(ValidationError):
            Event.model_validate_json(record)


def test_some_damaged_records_are_well_formed_json():
    parsed = 0
    for record in set(damaged_records(200, Random(1))):
        try:
            json.loads(record)
        except ValueError:
            continue
        parsed += 1
    assert parsed >= 4


def test_typing_changes_some_texts_a_little():
    rng = Random(3)
    typed = [as_typed("where is my order", rng) for _ in range(1000)]
    changed = [text for text in typed if text != "where is my order"]

    assert 200 < len(changed) < 500
    assert all(abs(len(text) - len("where is my order")) <= 5 for text in changed)


def test_typing_leaves_the_letters_of_other_scripts():
    rng = Random(3)

    assert all("मेरा ऑर्डर कहाँ है" in as_typed("मेरा ऑर्डर कहाँ है", rng) for _ in range(300))


def live(seed, step_ms, seconds=60):
    rng = Random(seed)
    traffic = LiveTraffic(Customers(UNSEEN, rng), 1.5, UNTIL, rng)
    ticks = range(UNTIL, UNTIL + seconds * 1000 + 1, step_ms)
    return [delivery for now in ticks for delivery in traffic.due(now)]


def test_live_traffic_hands_out_everything_once_when_it_is_due():
    rng = Random(4)
    traffic = LiveTraffic(Customers(UNSEEN, rng), 1.5, UNTIL, rng)

    assert traffic.due(UNTIL - 1) == []
    for now in range(UNTIL, UNTIL + 60_000, 250):
        assert all(now - 250 < delivery.at <= now for delivery in traffic.due(now))


def test_live_traffic_has_the_rate_that_was_asked_for():
    firsts = {delivery.message.session_id for delivery in live(4, 250, seconds=600)}

    assert len(firsts) == pytest.approx(1.5 * 600, rel=0.15)


def test_live_traffic_does_not_depend_on_how_often_it_is_asked():
    assert live(4, 250) == live(4, 1000)


def test_deliver_keeps_every_message():
    messages = Customers(UNSEEN, Random(1)).converse(UNTIL)

    assert {d.message for d in deliver(messages, Random(2))} == set(messages)
