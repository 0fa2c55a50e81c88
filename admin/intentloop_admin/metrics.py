"""What the API counts, for Prometheus. Labels are bounded: routes, not URLs."""

from __future__ import annotations

from math import nan

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from intentloop_admin.watch import Watched

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """Counters of one API process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Histogram(
            "intentloop_api_request_seconds",
            "Time from a request's first byte to its answer's last.",
            ("method", "route", "status"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.accepted = Counter(
            "intentloop_api_conversations_accepted",
            "Conversations accepted, repeated ones too.",
            registry=self.registry,
        )
        self.refused = Counter(
            "intentloop_api_conversations_refused",
            "Conversations that were answered with an error.",
            registry=self.registry,
        )
        self.flagged = Counter(
            "intentloop_api_conversations_flagged",
            "Accepted conversations that need review.",
            registry=self.registry,
        )
        self.groups = Histogram(
            "intentloop_api_group_conversations",
            "Conversations stored in one transaction.",
            buckets=(1, 10, 100, 1_000, 10_000),
            registry=self.registry,
        )
        self.spooled = Gauge(
            "intentloop_api_spooled_conversations",
            "Conversations that wait in files for the database.",
            registry=self.registry,
        )

        self._logged = Gauge(
            "intentloop_logger_conversations",
            "What became of the messages of the last hour, as all loggers report it.",
            ("outcome",),
            registry=self.registry,
        )
        self._log_seconds = Gauge(
            "intentloop_logger_log_p99_seconds",
            "99th percentile of the time that log() took, the highest of the last hour's reports.",
            registry=self.registry,
        )
        self._psi = Gauge(
            "intentloop_confidence_psi",
            "Population stability index of the last day's confidences against the week before.",
            ("dataset",),
            registry=self.registry,
        )

    def watched(self, watched: Watched) -> None:
        """Show what the store knows."""
        reported = watched.reported
        for outcome in ("delivered", "invalid", "failed", "dropped"):
            self._logged.labels(outcome).set(getattr(reported, outcome, 0))
        slowest = reported.log_p99_us if reported else None
        self._log_seconds.set(nan if slowest is None else slowest / 1e6)
        self._psi.clear()
        for dataset_id, psi in watched.psi.items():
            self._psi.labels(dataset_id).set(psi)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        method = method if method in _METHODS else "other"
        self._requests.labels(method, route, str(status)).observe(seconds)

    def text(self) -> bytes:
        """Return all of them in Prometheus' text format."""
        return generate_latest(self.registry)
