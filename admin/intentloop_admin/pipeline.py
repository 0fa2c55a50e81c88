"""How the pipeline is, put together from the store, the files and Kafka."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from confluent_kafka import KafkaException

from intentloop_schemas.kafka import KafkaSettings
from intentloop_sink.catalogue import Catalogue
from intentloop_sink.catalogue.pipeline import Proof
from intentloop_sink.queries import Totals
from intentloop_stream.extent import LogExtent, log_extent

_PROOF_SECONDS = 30.0
"""How old the sums over all commits may be: they read a row for each."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Accounts:
    """What became of all records, and whether that is all of them."""

    totals: Totals
    proof: Proof | None


def settle_accounts(catalogue: Catalogue) -> Accounts:
    """Add everything up."""
    return Accounts(catalogue.pipeline.totals(), catalogue.pipeline.proof())


class Remembered:
    """Accounts that are not added up for every question."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._accounts: Accounts | None = None
        self._until = 0.0

    def get(self) -> Accounts | None:
        """Return what is fresh enough."""
        return self._accounts if self._clock() < self._until else None

    def set(self, accounts: Accounts) -> Accounts:
        """Remember them for a while."""
        self._accounts, self._until = accounts, self._clock() + _PROOF_SECONDS
        return accounts


async def extent(kafka: KafkaSettings, topic: str) -> LogExtent | None:
    """Return how far Kafka's log reaches; None without a Kafka, or when it does not answer."""
    if kafka.bootstrap_servers is None:
        return None
    try:
        return await asyncio.to_thread(log_extent, kafka, topic)
    except (KafkaException, KeyError) as error:
        log.warning("kafka_away", error=str(error))
        return None
