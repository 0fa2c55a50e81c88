"""All who take part, in the order of the report."""

from __future__ import annotations

from bench.contestant import OURS, OURS_TWICE, Contestant, assigned, module
from bench.peers.provision import jars, own_environment

_WORKER = module("intentloop_cli", arguments=["worker"])
_OURS = (
    Contestant(
        OURS,
        "one worker process, as `intentloop worker` starts it, with BATCH_SECONDS=1",
        _WORKER,
        keeps_hours=True,
        ready_at=assigned,
    ),
    Contestant(
        OURS_TWICE,
        "two worker processes that share the partitions; timed from when both have some",
        _WORKER,
        processes=2,
        keeps_hours=True,
        ready_at=assigned,
    ),
)
_BASIC = (
    Contestant(
        "hand-written",
        "confluent-kafka, msgspec and COPY, two connections by partition, offsets in the same "
        "transaction; no dead letters, no fallback, no lookup of known events",
        module("bench.peers.handwritten.main", "confluent-kafka", "msgspec"),
        keeps_hours=True,
    ),
    Contestant(
        "stock Faust",
        "an agent with take(5000), raw values decoded by msgspec, COPY and sums in one transaction",
        module(
            "bench.peers.faust_take.main", "faust-streaming", arguments=["worker", "-l", "warn"]
        ),
        keeps_hours=True,
    ),
)
_PEERS = (
    Contestant(
        "Quix Streams",
        "a BatchingSink that copies rows and adds up windows in one transaction a flush",
        own_environment("quix", "quixstreams", "confluent-kafka"),
        keeps_hours=True,
    ),
    Contestant(
        "Bytewax",
        "rows and windows as two branches: a sink with COPY, and fold_window by event time",
        own_environment("bytewax", "bytewax", "confluent-kafka"),
    ),
    Contestant(
        "Flink SQL",
        "two INSERTs in one statement set, a TUMBLE window, JDBC sinks with large flushes and "
        "rewritten batches",
        jars("flink"),
    ),
    Contestant(
        "Spark Structured Streaming",
        "foreachBatch: rows by the JDBC writer, windows grouped in the batch and added by upsert",
        own_environment("spark", "pyspark"),
    ),
)


def contestants(*, peers: bool) -> tuple[Contestant, ...]:
    """Return who takes part, with or without those that bring dependencies of their own."""
    return _OURS + _BASIC + (_PEERS if peers else ())
