"""Topics: create them, and learn the id that tells one life of a topic from the next."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient, ClusterMetadata, NewTopic, OffsetSpec

from intentloop_schemas import LOGGERS_TOPIC, TopicPartition, dead_letter_topic
from intentloop_schemas.kafka import KafkaSettings, with_remedy

_TIMEOUT_SECONDS = 10.0
_STEP_SECONDS = 1.0
_KNOWN_SECONDS = 0.05
_OFFSETS_TIMEOUT_SECONDS = 5.0
_GONE = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)
# What brokers say of a partition in the moments before all of them know who leads it.
_NOT_LED = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.OFFSET_NOT_AVAILABLE,
)
# What another attempt would not change.
_LASTING = (KafkaError._AUTHENTICATION, KafkaError._SSL)
_DEAD_LETTER_RETENTION_MS = 90 * 86_400_000
_REPORT_RETENTION_MS = 7 * 86_400_000
# A letter is its record and some headers, so it may be larger than a record may be.
_DEAD_LETTER_MAX_BYTES = 16 * 1024 * 1024


def create_topics(
    settings: KafkaSettings, topic: str, *, partitions: int = 4, replication: int = 1
) -> list[str]:
    """Create a topic, its dead-letter topic and the one for loggers' reports on themselves.

    Returns the names that did not exist before, when they can be used.

    Blocks up to 20 s. Raises confluent_kafka.KafkaException when the broker refuses or is away.
    """
    wanted = [
        NewTopic(topic, partitions, replication),
        NewTopic(
            dead_letter_topic(topic),
            1,
            replication,
            config={
                "retention.ms": str(_DEAD_LETTER_RETENTION_MS),
                "max.message.bytes": str(_DEAD_LETTER_MAX_BYTES),
            },
        ),
        NewTopic(LOGGERS_TOPIC, 1, replication, config={"retention.ms": str(_REPORT_RETENTION_MS)}),
    ]
    admin, cluster = connect(settings)
    if _is_mock(cluster):
        return [new.topic for new in wanted if admin.list_topics(new.topic, _TIMEOUT_SECONDS)]
    futures = admin.create_topics(
        wanted, operation_timeout=_TIMEOUT_SECONDS, request_timeout=_TIMEOUT_SECONDS
    )
    created = [name for name, future in futures.items() if _created(future)]
    _await_usable(admin, created)
    return created


def topic_ids(settings: KafkaSettings, topics: Iterable[str]) -> dict[str, str]:
    """Return the id of each topic; a deleted and recreated topic has another one.

    Blocks up to 10 s. Raises confluent_kafka.KafkaException when a topic does not exist or the
    broker is away. Brokers older than Kafka 2.8 have no ids: the name stands in.
    """
    admin, cluster = connect(settings)
    if _is_mock(cluster):
        return {name: f"{cluster.cluster_id}/{name}" for name in topics}
    return {name: _id(name, told) for name, told in _describe(admin, topics).items()}


def connect(
    settings: KafkaSettings, timeout: float = _TIMEOUT_SECONDS
) -> tuple[AdminClient, ClusterMetadata]:
    """Return a client and what it learns of the cluster, within `timeout` seconds.

    The client ends its requests when it is collected: keep it. Raises
    confluent_kafka.KafkaException, which says why the cluster cannot be used and what to check.
    """
    said: list[KafkaError] = []
    try:
        admin = AdminClient({**settings.librdkafka(), "log_level": 0, "error_cb": said.append})
    except KafkaException as error:
        raise _explained(error.args[0], said) from error
    deadline = time.monotonic() + timeout
    while True:
        left = deadline - time.monotonic()
        try:
            return admin, admin.list_topics(timeout=min(max(left, 0.0), _STEP_SECONDS))
        except KafkaException as error:
            admin.poll(0)
            if left <= _STEP_SECONDS or any(each.code() in _LASTING for each in said):
                raise _explained(error.args[0], said) from error


def log_ends(admin: AdminClient, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
    """Return where the logs of partitions end for a reader of committed records.

    Blocks up to 5 s. Raises confluent_kafka.KafkaException when the broker is away. A partition
    whose topic was deleted meanwhile is absent.
    """
    return _offsets(admin, partitions, OffsetSpec.latest())


def log_starts(
    admin: AdminClient, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, int]:
    """Return the first offsets that the logs of partitions still have; else as `log_ends`."""
    return _offsets(admin, partitions, OffsetSpec.earliest())


def quiet_admin(settings: KafkaSettings) -> AdminClient:
    """Return a client that says what is wrong by raising it, not on standard error."""
    return AdminClient({**settings.librdkafka(), "log_level": 0})


def _describe(admin: AdminClient, topics: Iterable[str]) -> dict[str, object]:
    futures = admin.describe_topics(TopicCollection(list(topics)), request_timeout=_TIMEOUT_SECONDS)
    return {name: future.result() for name, future in futures.items()}


def _offsets(
    admin: AdminClient, partitions: Iterable[TopicPartition], spec: OffsetSpec
) -> dict[TopicPartition, int]:
    places = {KafkaPartition(p.topic, p.partition): p for p in partitions}
    if not places:
        return {}
    futures = admin.list_offsets(
        dict.fromkeys(places, spec),
        isolation_level=IsolationLevel.READ_COMMITTED,
        request_timeout=_OFFSETS_TIMEOUT_SECONDS,
    )
    offsets = {}
    for place, future in futures.items():
        try:
            offsets[places[place]] = future.result().offset
        except KafkaException as error:
            if error.args[0].code() not in _GONE:
                raise
    return offsets


def _is_mock(cluster: ClusterMetadata) -> bool:
    """Tell librdkafka's mock cluster from a real one.

    The mock has no controller to ask: it makes a topic when its metadata are asked for.
    """
    return bool(cluster.cluster_id) and cluster.cluster_id.startswith("mockCluster")


def _explained(error: KafkaError, said: Iterable[KafkaError]) -> KafkaException:
    """Return an error with the cause that the client has told by the way."""
    causes = (each for each in said if each.code() != KafkaError._ALL_BROKERS_DOWN)
    cause = next(causes, error)
    return KafkaException(KafkaError(cause.code(), with_remedy(cause.str())))


def _created(future: object) -> bool:
    try:
        future.result()  # type: ignore[attr-defined]  # confluent-kafka has no types for futures
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        raise
    return True


def _await_usable(admin: AdminClient, topics: Sequence[str]) -> None:
    """Wait until brokers know topics that the controller has just created, and lead them."""
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while topics:
        try:
            _ask_leaders(admin, topics)
        except KafkaException as error:
            if error.args[0].code() not in _GONE + _NOT_LED or time.monotonic() > deadline:
                raise
            time.sleep(_KNOWN_SECONDS)
        else:
            return


def _ask_leaders(admin: AdminClient, topics: Sequence[str]) -> None:
    """Ask each partition's leader something. Raises KafkaException when one does not lead yet."""
    places = {
        KafkaPartition(name, partition.id): OffsetSpec.earliest()
        for name, told in _describe(admin, topics).items()
        for partition in told.partitions  # type: ignore[attr-defined]
    }
    futures = admin.list_offsets(places, request_timeout=_TIMEOUT_SECONDS)
    for future in futures.values():
        future.result()


def _id(name: str, description: object) -> str:
    uuid = str(description.topic_id)  # type: ignore[attr-defined]
    return name if uuid.strip("A") in ("", "==") else uuid
