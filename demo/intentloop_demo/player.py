"""Plays traffic to the bot, and damaged records past it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from confluent_kafka import Producer

from intentloop_demo.bot import Bot
from intentloop_demo.parts import Topic
from intentloop_demo.results import Sent
from intentloop_demo.traffic import Delivery, Message
from intentloop_producer import ConversationLogger

_TOGETHER = 250
"""Messages that the NLU is given at once: many times quicker than one by one."""
_MAX_QUEUED = 5_000
_FLUSH_SECONDS = 60.0


class NotDeliveredError(Exception):
    """Messages were lost between the bot and Kafka."""


class Player:
    """Brings messages to the bot and keeps count in `sent`; `heard` is told each message."""

    def __init__(
        self,
        bot: Bot,
        logger: ConversationLogger,
        topic: Topic,
        heard: Callable[[Message], object] | None = None,
    ) -> None:
        self._bot = bot
        self._heard = heard
        self._logger = logger
        self._topic = topic
        self.sent = Sent()

    def play(self, deliveries: Iterable[Delivery], progress: Callable[[], object]) -> None:
        """Bring all of it as fast as Kafka takes it. Raises what `settle` raises."""
        remaining = iter(deliveries)
        while some := list(islice(remaining, _TOGETHER)):
            self.deliver(some)
            if self._logger.counts.queued > _MAX_QUEUED:
                self._logger.flush(_FLUSH_SECONDS)
            progress()
        self.settle()

    def settle(self) -> None:
        """Block until Kafka has everything; raise NotDeliveredError when it does not get it."""
        self._logger.flush(_FLUSH_SECONDS)
        counts = self._logger.counts
        if counts.delivered < self.sent.messages:
            raise NotDeliveredError(
                f"of {self.sent.messages} messages only {counts.delivered} reached Kafka: {counts}"
            )

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Bring these to the bot at once; never waits for Kafka."""
        answers = self._bot.receive([delivery.message for delivery in deliveries])
        for delivery, answer in zip(deliveries, answers, strict=True):
            if self._heard:
                self._heard(delivery.message)
            self.sent.messages += 1
            self.sent.redelivered += delivery.again
            self.sent.understood += answer.prediction.intent == delivery.message.meant

    def damage(self, records: Sequence[bytes]) -> None:
        """Write records to the topic that no logger would write. Blocks until Kafka has them."""
        producer = Producer(self._topic.kafka.librdkafka())
        for number, record in enumerate(records):
            producer.produce(self._topic.name, key=b"damaged-%d" % number, value=record)
            self.sent.damaged += 1
        producer.flush(_FLUSH_SECONDS)
