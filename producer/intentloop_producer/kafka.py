"""The way to Kafka: an idempotent producer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from intentloop_producer.transport import Route, Settle
from intentloop_schemas.kafka import KafkaSettings

_PRODUCER: dict[str, Any] = {
    "enable.idempotence": True,
    "acks": "all",
    "compression.type": "lz4",
    "linger.ms": 50,
    "reconnect.backoff.max.ms": 2_000,
    # The same partition for a sender as Java's clients choose.
    "partitioner": "murmur2_random",
    # A broker may be away for a day; memory is bounded by the next two, not by time.
    "message.timeout.ms": 86_400_000,
    "queue.buffering.max.messages": 10_000,
    "queue.buffering.max.kbytes": 32_768,
    # Trouble comes through the error callback, which says it less often.
    "log_level": 0,
}

# One broker of several may go away; all of them gone is an error of its own.
_PASSING = (KafkaError._TRANSPORT, KafkaError._RESOLVE, KafkaError._TIMED_OUT)
_NO_TOPIC = (KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART)


def kafka_route(kafka: KafkaSettings, topic: str) -> Route:
    """Return the way to a topic."""
    return Route("Kafka", partial(KafkaTransport, kafka, topic))


class KafkaTransport:
    """Sends events to a topic; reconnects for ever while Kafka is away.

    Raises ValueError when the settings are not usable.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, on_trouble: Callable[[str], None]) -> None:
        self._topic = topic
        self._on_trouble = on_trouble
        self._configuration = {**kafka.librdkafka(), **_PRODUCER, "error_cb": self.on_error}
        self._producer = self._connect()
        self._is_fatal = False
        self._last_error = ""

    def send(self, key: bytes, value: bytes, settle: Settle) -> bool:
        """Take an event without waiting; False when librdkafka's queue is full."""
        if self._is_fatal:
            self._replace_producer()
        try:
            self._producer.produce(
                self._topic,
                value,
                key,
                on_delivery=lambda error, _: settle(_explain(error) if error else None),
            )
        except BufferError:
            return False
        except KafkaException as error:
            settle(_explain(error.args[0]))
        return True

    def poll(self, seconds: float) -> None:
        """Settle what is over; waits up to `seconds` for something to settle."""
        self._producer.poll(seconds)

    def flush(self, seconds: float) -> None:
        """Wait up to `seconds` until everything is settled."""
        self._producer.flush(seconds)

    def on_error(self, error: KafkaError) -> None:
        """Take librdkafka's word about the connection; after a fatal error start afresh."""
        if error.code() in _PASSING:
            self._last_error = error.str()
            return
        self._is_fatal = self._is_fatal or error.fatal()
        self._on_trouble("; ".join(filter(None, (error.str(), self._last_error))))

    def _connect(self) -> Producer:
        try:
            return Producer(self._configuration)
        except KafkaException as error:
            raise ValueError(error.args[0].str()) from error

    def _replace_producer(self) -> None:
        # An idempotent producer that lost its place in the sequence never sends again.
        self._producer.purge()
        self._producer.flush(1)
        self._producer = self._connect()
        self._is_fatal = False


def _explain(error: KafkaError) -> str:
    if error.code() in _NO_TOPIC:
        return f"{error.str()}. Create the topic: intentloop topics create"
    return str(error.str())
