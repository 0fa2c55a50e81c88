"""The way to Kafka: an idempotent producer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from intentloop_producer.transport import KAFKA, Failure, Route, Settle
from intentloop_schemas import LOGGERS_TOPIC
from intentloop_schemas.kafka import KafkaSettings, with_remedy

PRODUCER: dict[str, Any] = {
    "enable.idempotence": True,
    "acks": "all",
    "compression.type": "lz4",
    "linger.ms": 50,
    "reconnect.backoff.max.ms": 2_000,
    # The same partition for a sender as Java's clients choose.
    "partitioner": "murmur2_random",
    # A broker may be away for a day; memory is bounded by the next two, not by time.
    "message.timeout.ms": 86_400_000,
    "queue.buffering.max.messages": 5_000,
    "queue.buffering.max.kbytes": 16_384,
    # Trouble comes through the error callback, which says it less often.
    "log_level": 0,
}

# One broker of several may go away; all of them gone is an error of its own.
_PASSING = (KafkaError._TRANSPORT, KafkaError._RESOLVE, KafkaError._TIMED_OUT)
_NO_TOPIC = (KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART)
# Only a fatal error is raised, and it shows as a SystemError when a callback was next.
_FATAL = (KafkaException, SystemError)
# Another time these may be gone.
_NOT_FINAL = (*_NO_TOPIC, KafkaError._MSG_TIMED_OUT, KafkaError._FATAL)


def kafka_route(kafka: KafkaSettings, topic: str) -> Route:
    """Return the way to a topic."""
    return Route("Kafka", partial(KafkaTransport, kafka, topic), KAFKA)


class KafkaTransport:
    """Sends events to a topic; reconnects for ever while Kafka is away.

    Raises ValueError when the settings are not usable.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, on_trouble: Callable[[str], None]) -> None:
        self._topic = topic
        self._on_trouble = on_trouble
        self._configuration = {**kafka.librdkafka(), **PRODUCER, "error_cb": self._on_error}
        self._producer = self._connect()
        self._numbers = count()
        self._unsettled: dict[int, Settle] = {}
        self._last_error = ""

    def send(self, key: bytes, value: bytes, settle: Settle) -> bool:
        """Take an event without waiting; False when librdkafka's queue is full."""
        return self._produce(self._topic, key, value, settle)

    def report(self, key: bytes, value: bytes, settle: Settle) -> None:
        """Take a report of the logger itself; it is lost when librdkafka's queue is full."""
        if not self._produce(LOGGERS_TOPIC, key, value, settle):
            settle(Failure("the queue is full"))

    def poll(self, seconds: float) -> None:
        """Settle what is over; waits up to `seconds` for something to settle."""
        self._serve(self._producer.poll, seconds)

    def flush(self, seconds: float) -> None:
        """Wait up to `seconds` until everything is settled; gather nothing meanwhile."""
        self._serve(self._producer.flush, seconds)

    def close(self) -> None:
        """End the producer with its threads; what it still holds is not sent."""
        self._end_producer()

    def _produce(self, topic: str, key: bytes, value: bytes, settle: Settle) -> bool:
        number = next(self._numbers)
        self._unsettled[number] = settle
        try:
            delivered = partial(self._on_delivery, number)
            self._producer.produce(topic, value, key, on_delivery=delivered)
        except BufferError:
            del self._unsettled[number]
            return False
        except KafkaException as error:
            self._settle(number, _failure(error.args[0]))
        return True

    def _connect(self) -> Producer:
        try:
            return Producer(self._configuration)
        except KafkaException as error:
            raise ValueError(error.args[0].str()) from error

    def _serve(self, serve: Callable[[float], object], seconds: float) -> None:
        try:
            serve(seconds)
        except _FATAL as error:
            # confluent-kafka never lets go of it, nor thus of the producer in its frames.
            error.__traceback__ = None
            self._replace_producer(str(error.__cause__ or error))

    def _replace_producer(self, why: str) -> None:
        """Start afresh: an idempotent producer that lost its place never sends again."""
        self._on_trouble(why)
        another = self._connect()
        unsettled = list(self._unsettled.values())
        self._end_producer()
        self._producer = another
        for settle in unsettled:
            settle(Failure(why, is_final=False))

    def _end_producer(self) -> None:
        """Let go of the producer and of what it holds, without settling that.

        Were it left for the collector, a child forked later would crash when it collects it.
        """
        self._unsettled.clear()
        # Its callbacks would stay in memory if they were never called.
        self._producer.purge()
        with suppress(*_FATAL):
            self._producer.poll(0)
        del self._producer

    def _settle(self, number: int, failure: Failure | None) -> None:
        if settle := self._unsettled.pop(number, None):
            settle(failure)

    def _on_delivery(self, number: int, error: KafkaError | None, _: object) -> None:
        self._settle(number, _failure(error) if error else None)

    def _on_error(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._last_error = error.str()
        if error.code() not in _PASSING:
            self._on_trouble(with_remedy(self._last_error or error.str()))


def _failure(error: KafkaError) -> Failure:
    why = str(error.str())
    if error.code() in _NO_TOPIC:
        why = f"{why}. Create the topic: intentloop topics create"
    return Failure(why, is_final=error.code() not in _NOT_FINAL)
