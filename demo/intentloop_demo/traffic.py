"""What happens at the bot's webhooks: conversations on four channels, and their mishaps.

Everything is drawn from the random generator that is given: the same seed, the same traffic.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from intentloop_demo.typing_noise import as_typed
from intentloop_demo.utterances import Utterance

CHANNELS = {"whatsapp": 60, "telegram": 15, "web": 15, "rcs": 10}
LANGUAGES = {"en": 65, "hi": 12, "hi-Latn": 23}
SMALL_TALK = frozenset({"greeting", "affirm", "deny", "thanks", "goodbye"})
POPULARITY = {"track_order": 20, "order_food": 14, "delivery_time": 10, "cancel_order": 8,
              "refund_status": 8, "menu_question": 6, "out_of_scope": 2, "customs_question": 2,
              "exchange_size": 2}  # fmt: skip
_USUAL_POPULARITY = 4

REDELIVERED_SHARE = 0.01
"""Chat platforms deliver a webhook again when they do not hear the answer in time."""
DELAYED_SHARE = 0.01
"""Phones without a connection send what was written a minute ago."""


WISH = "wish"
"""Stands for any intent that is not small talk."""


class Step(NamedTuple):
    """A step of the dialogue, the share of conversations that take it, and what is said there."""

    name: str
    share: float
    intents: tuple[str, ...]


DIALOGUE = (
    Step("welcome", 0.3, ("greeting",)),
    Step("main_menu", 1.0, (WISH,)),
    Step("follow_up", 0.35, (WISH,)),
    Step("confirm", 0.2, ("affirm", "affirm", "deny")),
    Step("closing", 0.2, ("thanks", "thanks", "goodbye")),
)


@dataclass(frozen=True, slots=True)
class Message:
    """A customer message as a webhook delivers it; `timestamp` is when it was written, epoch ms.

    `meant` is the intent that the customer had: the NLU does not get to see it.
    """

    channel: str
    sender: str
    session_id: str
    message_id: str
    language: str
    step: str
    text: str
    timestamp: int
    meant: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message reaching the bot, perhaps `again`; `at` is when, in epoch ms."""

    at: int
    message: Message
    again: bool = False


class Customers:
    """Begins conversations whose every message is drawn from `utterances`."""

    def __init__(self, utterances: Iterable[Utterance], rng: Random) -> None:
        self._rng = rng
        self._texts: dict[tuple[str, str], list[str]] = defaultdict(list)
        for utterance in utterances:
            self._texts[utterance.intent, utterance.language].append(utterance.text)
        self._wishes = sorted({intent for intent, _ in self._texts} - SMALL_TALK)
        self._weights = [POPULARITY.get(wish, _USUAL_POPULARITY) for wish in self._wishes]

    def converse(self, started_at: int) -> list[Message]:
        """Return the messages of one new conversation that starts at an epoch ms, oldest first."""
        rng = self._rng
        channel, language = _weighted(CHANNELS, rng), _weighted(LANGUAGES, rng)
        sender = _sender(channel, rng)
        session = f"{channel}-{rng.getrandbits(40):010x}"
        messages = []
        timestamp = started_at
        for number, (step, intent) in enumerate(self._turns()):
            messages.append(
                Message(
                    channel=channel,
                    sender=sender,
                    session_id=session,
                    message_id=f"{session}-{number}",
                    language=language,
                    step=step,
                    text=as_typed(rng.choice(self._texts[intent, language]), rng),
                    timestamp=timestamp,
                    meant=intent,
                )
            )
            timestamp += rng.randrange(2_000, 15_000)
        return messages

    def _turns(self) -> Iterator[tuple[str, str]]:
        """Yield the steps of one conversation, each with what the customer means there."""
        for step in DIALOGUE:
            if self._rng.random() < step.share:
                intent = self._rng.choice(step.intents)
                yield step.name, self._wish() if intent == WISH else intent

    def _wish(self) -> str:
        return self._rng.choices(self._wishes, self._weights)[0]


def play(
    customers: Customers, conversations: int, *, until_ms: int, minutes: float, rng: Random
) -> list[Delivery]:
    """Return several minutes of traffic that ends at `until_ms`, in the order of delivery."""
    span = round(minutes * 60_000)
    messages = [
        message
        for _ in range(conversations)
        for message in customers.converse(until_ms - rng.randrange(span))
        if message.timestamp < until_ms
    ]
    return deliver(messages, rng)


def deliver(messages: Iterable[Message], rng: Random) -> list[Delivery]:
    """Return how messages reach the bot: some late, some twice."""
    deliveries = []
    for message in messages:
        delay = rng.randrange(50, 1_500)
        if rng.random() < DELAYED_SHARE:
            delay += rng.randrange(20_000, 90_000)
        deliveries.append(Delivery(message.timestamp + delay, message))
        if rng.random() < REDELIVERED_SHARE:
            later = message.timestamp + delay + rng.randrange(5_000, 20_000)
            deliveries.append(Delivery(later, message, again=True))
    return sorted(deliveries, key=lambda delivery: delivery.at)


def damaged_records(count: int, rng: Random) -> list[bytes]:
    """Return records as no logger writes them: cut off, mistyped, out of range, not JSON."""
    return [rng.choice(_damages(rng)) for _ in range(count)]


def _damages(rng: Random) -> Sequence[bytes]:
    event = {
        "phoneNumber": _sender("whatsapp", rng),
        "messageText": "where is my order",
        "intent": "track_order",
        "confidence": 0.93,
        "timestamp": 1_700_000_000_000,
    }
    whole = json.dumps(event).encode()
    return [
        whole[: len(whole) // 2],
        b"\x89PNG not a message at all",
        json.dumps({**event, "confidence": "0.93"}).encode(),
        json.dumps({**event, "confidence": 93}).encode(),
        json.dumps({**event, "timestamp": 1_700_000_000}).encode(),
        json.dumps({**event, "messageText": ""}).encode(),
    ]


def _sender(channel: str, rng: Random) -> str:
    """Return a sender that cannot exist: no Indian number begins with 0 after its country code."""
    number = f"{rng.randrange(100_000):05d}"
    if channel in ("whatsapp", "rcs"):
        return f"+9100000{number}"
    return f"{channel}-user-{number}"


def _weighted(weights: dict[str, int], rng: Random) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]
