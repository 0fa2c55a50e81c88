"""The last resort: librdkafka's mock cluster, which speaks Kafka's protocol from memory.

Run as a script it is the cluster, under a guard like any server.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from confluent_kafka import Producer

from intentloop_devstack.claim import Claim
from intentloop_devstack.errors import UnavailableError
from intentloop_devstack.process import ServerProcess

_BROKERS = 1


class MockCluster(ServerProcess):
    """A mock cluster's process."""

    def restart(self) -> None:
        """Raise UnavailableError: it would be empty and listen elsewhere."""
        raise UnavailableError("the mock cluster keeps nothing to start again with")


def start(place: Claim, *, environ: Mapping[str, str]) -> tuple[MockCluster, str]:
    """Start a mock cluster and return it with its address.

    It cannot create topics on demand: one comes into being, with 4 partitions, when first named.
    """
    address = place.folder / "address"
    address.unlink(missing_ok=True)
    process = MockCluster(
        name="librdkafka's mock cluster",
        command=[sys.executable, "-P", __file__, str(address)],
        claim=place,
        ready=address.exists,
        environ=environ,
    )
    process.start()
    return process, address.read_text()


def serve(address: Path) -> None:
    """Run a cluster in this process and write where it listens; returns never."""
    cluster = Producer({"test.mock.num.brokers": _BROKERS})
    brokers = cluster.list_topics(timeout=10).brokers.values()
    draft = address.with_suffix(".new")
    draft.write_text(",".join(f"{broker.host}:{broker.port}" for broker in brokers))
    draft.rename(address)
    while True:
        signal.pause()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
