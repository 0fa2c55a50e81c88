"""What the metrics show that only the store knows: reports of loggers, and drift."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from intentloop_sink.catalogue import Catalogue, Reported
from intentloop_sink.insights.drift import drift

_REPORTED = timedelta(hours=1)
_CURRENT = timedelta(days=1)
_REFERENCE = timedelta(days=7)
_MOST_DATASETS = 100
"""A label for each: their number has to stay bounded."""


class Watched(NamedTuple):
    """Figures of now."""

    reported: Reported | None
    """Of the last hour."""
    psi: Mapping[str, float]
    """By dataset: how far the confidences of the last day are from those of the week before."""


def watch(catalogue: Catalogue, now: datetime) -> Watched:
    """Return the figures; datasets in which too little happened have none. Reads sums only."""
    ids = [dataset.id for dataset in catalogue.datasets.all(None)[:_MOST_DATASETS]]
    found = {dataset_id: _psi(catalogue, dataset_id, now) for dataset_id in ids}
    return Watched(
        catalogue.reports.total(now - _REPORTED),
        {dataset_id: psi for dataset_id, psi in found.items() if psi is not None},
    )


def _psi(catalogue: Catalogue, dataset_id: str, now: datetime) -> float | None:
    current = catalogue.statistics.total(dataset_id, now - _CURRENT)
    both = catalogue.statistics.total(dataset_id, now - _CURRENT - _REFERENCE)
    if current is None or both is None:
        return None
    pairs = zip(both.histogram, current.histogram, strict=True)
    found = drift([whole - latest for whole, latest in pairs], current.histogram)
    return None if found is None else found.psi
