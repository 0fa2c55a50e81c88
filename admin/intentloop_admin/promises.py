"""The promises of the first service as figures of a day, beside their targets."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from intentloop_admin.routes.words import Answer
from intentloop_sink.catalogue import Catalogue, Reported

NOT_REPORTED = "not reported"
_MEGABYTE = 1e6


class Figure(Answer):
    """One promise: what it is, what it should be, and whether it is so."""

    name: str = Field(examples=["flaggedShare"])
    value: float | None = Field(description="Null when it is not known.", examples=[0.07])
    unit: str = Field(examples=["share"])
    target: float = Field(examples=[0.2])
    is_met: bool | None = Field(description="Null when the value is not known.")
    better: Literal["higher", "lower"]
    note: str | None = Field(None, examples=[NOT_REPORTED])


def summarise(catalogue: Catalogue, dataset_id: str, since: datetime) -> list[Figure]:
    """Return all figures since a time; batches and reports are those of all datasets."""
    total = catalogue.statistics.total(dataset_id, since)
    batching = catalogue.statistics.batching(since)
    reported = catalogue.reports.total(since)
    count = total.n if total else 0
    row_bytes = catalogue.statistics.bytes_per_example()
    return [
        _at_least("conversationsPerDay", count, "conversations", 100),
        _at_most("flaggedShare", total.share(total.flagged) if total else None, "share", 0.2),
        _at_most("loggingLatencyP99", _latency(reported), "ms", 10, reported),
        _at_least("successRate", _success(reported), "share", 0.99, reported),
        _at_most(
            "growthPerDay", None if row_bytes is None else row_bytes * count / _MEGABYTE, "MB", 1
        ),
        _at_least(
            "callsSavedByBatching",
            1 - batching.batches / batching.records if batching.records else None,
            "share",
            0.9,
        ),
    ]


def _latency(reported: Reported | None) -> float | None:
    if reported is None or reported.log_p99_us is None:
        return None
    return reported.log_p99_us / 1000


def _success(reported: Reported | None) -> float | None:
    """Return the share of what was settled that was delivered; what is on its way is neither."""
    if reported is None:
        return None
    lost = reported.invalid + reported.failed + reported.dropped
    settled = reported.delivered + lost
    return reported.delivered / settled if settled else None


_Missing = Reported | None | Literal["stored"]


def _at_least(
    name: str, value: float | None, unit: str, target: float, source: _Missing = "stored"
) -> Figure:
    is_met = None if value is None else value >= target
    return _figure(name, value, unit, target, "higher", is_met, source)


def _at_most(
    name: str, value: float | None, unit: str, target: float, source: _Missing = "stored"
) -> Figure:
    is_met = None if value is None else value <= target
    return _figure(name, value, unit, target, "lower", is_met, source)


def _figure(
    name: str,
    value: float | None,
    unit: str,
    target: float,
    better: Literal["higher", "lower"],
    is_met: bool | None,  # noqa: FBT001 - a value, not a switch
    source: _Missing,
) -> Figure:
    note = None
    if value is None:
        note = "nothing yet" if source == "stored" else NOT_REPORTED
    return Figure(
        name=name, value=value, unit=unit, target=target, is_met=is_met, better=better, note=note
    )
