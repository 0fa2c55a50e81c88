"""What a worker counts, for Prometheus. Labels are bounded: reasons, and a worker's partitions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from intentloop_schemas import Batch, DeadLetterReason
from intentloop_sink import Stored

_COMMIT_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_AGE_SECONDS = (0.1, 0.5, 1, 2.5, 5, 10, 20, 30, 35, 60, 300, 3_600)


class Metrics:
    """Counters of one worker, in a registry of their own. All of it on one thread."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._records = Counter(
            "intentloop_records",
            "Records accounted for: stored, known before, or rejected.",
            ("outcome",),
            registry=self.registry,
        )
        self._rejected = Counter(
            "intentloop_rejected_records",
            "Records that became dead letters.",
            ("reason",),
            registry=self.registry,
        )
        self._suppressed = self._counter(
            "suppressed_records",
            "Of the rejected, those of erased senders or past their retention.",
        )
        self._flagged = self._counter("flagged_events", "Stored events that need review.")
        self._batches = self._counter("batches", "Batches stored.")
        self._lost = self._counter("lost_records", "Positions that Kafka deleted unread.")
        self._failures = self._counter("store_failures", "Transactions that the database refused.")
        self._spooled = self._counter("spooled_batches", "Batches that went into files.")
        self._commit_seconds = Histogram(
            "intentloop_commit_seconds",
            "Time that a transaction took.",
            buckets=_COMMIT_SECONDS,
            registry=self.registry,
        )
        self._age_seconds = Histogram(
            "intentloop_batch_age_seconds",
            "Time from a batch's first record in Kafka to its commit.",
            buckets=_AGE_SECONDS,
            registry=self.registry,
        )
        self._committed_at = Gauge(
            "intentloop_last_commit_timestamp_seconds",
            "When this worker last stored something.",
            registry=self.registry,
        )
        # All from the start: an alert on a counter that is not there yet would miss its first.
        for outcome in ("stored", "duplicate", "rejected"):
            self._records.labels(outcome)
        for reason in DeadLetterReason:
            self._rejected.labels(reason)

    def stored(
        self, outcome: Stored, batches: Iterable[Batch], *, seconds: float, now: int
    ) -> None:
        """Count a transaction that took `seconds` and ended `now`, in epoch ms."""
        self._records.labels("stored").inc(outcome.stored)
        self._records.labels("duplicate").inc(outcome.duplicates)
        self._records.labels("rejected").inc(outcome.rejected)
        self._suppressed.inc(outcome.suppressed)
        self._flagged.inc(outcome.flagged)
        self._batches.inc(outcome.batches)
        self._commit_seconds.observe(seconds)
        self._committed_at.set(now / 1000)
        for batch in batches:
            self._age_seconds.observe(max(0, now - batch.opened_at) / 1000)

    def store_failed(self) -> None:
        """Count a transaction that the database did not take."""
        self._failures.inc()

    def spooled(self, batches: int) -> None:
        """Count batches that went into files."""
        self._spooled.inc(batches)

    def rejected(self, reasons: Iterable[DeadLetterReason]) -> None:
        """Count dead letters."""
        for reason in reasons:
            self._rejected.labels(reason).inc()

    def lost(self, positions: int) -> None:
        """Count what Kafka deleted unread."""
        self._lost.inc(positions)

    def gauge(self, name: str, description: str, value: Callable[[], float]) -> None:
        """Show a value as it is when it is asked for."""
        Gauge(f"intentloop_{name}", description, registry=self.registry).set_function(value)

    def lag(self, records: Callable[[], Mapping[int, int]]) -> None:
        """Show by partition how many positions are not safe yet."""
        self.registry.register(_Lag(records))

    def text(self) -> bytes:
        """Return all of them in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, description: str) -> Counter:
        return Counter(f"intentloop_{name}", description, registry=self.registry)


class _Lag(Collector):
    """Partitions come and go with assignments, so they are looked up at each scrape."""

    def __init__(self, records: Callable[[], Mapping[int, int]]) -> None:
        self._records = records

    def collect(self) -> Iterable[Metric]:
        lag = GaugeMetricFamily(
            "intentloop_lag_records",
            "Positions of the log that are neither stored nor spooled.",
            labels=("partition",),
        )
        for partition, records in self._records().items():
            lag.add_metric((str(partition),), records)
        yield lag

    def describe(self) -> Iterable[Metric]:
        """Return nothing: before the first assignment there is no partition."""
        return ()
