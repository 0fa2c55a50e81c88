"""A range of time in outline: counts over time and by intent, and what it can be narrowed to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from intentloop_sink.catalogue import Catalogue, StatisticsFilter
from intentloop_sink.catalogue.statistics import Choices, Confidence

# One look at the rows gives all four views. The filter stands beside the sums, so that the choices
# are those of the whole range.
_OUTLINE = text("""
SELECT grouping(start, intent, channel, model_version) AS view,
       start, intent, channel, model_version,
       sum(n) FILTER (WHERE is_wanted)::bigint AS n,
       sum(flagged_n) FILTER (WHERE is_wanted)::bigint AS flagged,
       sum(confidence_sum_micros) FILTER (WHERE is_wanted)::bigint AS micros
FROM (
  SELECT date_bin(CAST(:width AS interval), window_start, TIMESTAMPTZ 'epoch') AS start, intent,
         channel, model_version, n, flagged_n, confidence_sum_micros,
         channel = coalesce(:channel, channel)
         AND model_version = coalesce(:model_version, model_version) AS is_wanted
  FROM intent_hourly_stats
  WHERE dataset_id = :dataset AND window_start >= :since AND window_start < :until) AS hours
GROUP BY GROUPING SETS ((start), (intent), (channel), (model_version))
""")

_BY_START, _BY_INTENT, _BY_CHANNEL, _BY_MODEL = 0b0111, 0b1011, 0b1101, 0b1110
"""What grouping() says: a bit for each column that the row is not about."""


class Counts(NamedTuple):
    """Sums over some messages."""

    n: int
    flagged: int
    sum_micros: int

    @property
    def mean(self) -> float:
        """Mean confidence."""
        return self.sum_micros / (1e6 * self.n)

    @property
    def flagged_share(self) -> float:
        """Share of flagged messages."""
        return self.flagged / self.n


@dataclass(frozen=True, slots=True)
class Outline:
    """Where nothing happened there is no entry."""

    periods: dict[datetime, Counts]
    intents: dict[str, Counts]
    """The most frequent first."""
    choices: Choices

    @property
    def total(self) -> Counts | None:
        """Sums over everything; None when there was nothing."""
        if not self.periods:
            return None
        return Counts._make(map(sum, zip(*self.periods.values(), strict=True)))


def outline(
    catalogue: Catalogue,
    dataset_id: str,
    wanted: StatisticsFilter,
    since: datetime,
    until: datetime,
    width: timedelta,
) -> Outline:
    """Return the outline of a range, in columns of `width`, a multiple of an hour."""
    if catalogue.connection.dialect.name != "postgresql":
        return _from_files(catalogue, dataset_id, wanted, since, until, width)
    conditions = {"channel": wanted.channel, "model_version": wanted.model_version}
    range_ = {"dataset": dataset_id, "since": since, "until": until, "width": width}
    return _from_rows(_rows(catalogue.connection, {**conditions, **range_}))


def _rows(connection: Connection, parameters: dict[str, Any]) -> list[Any]:
    return list(connection.execute(_OUTLINE, parameters))


def _from_rows(rows: list[Any]) -> Outline:
    views: dict[int, list[Any]] = {}
    for row in rows:
        views.setdefault(row.view, []).append(row)
    found = {
        view: {row[1 + place]: Counts(row.n, row.flagged, row.micros)
               for row in views.get(view, ()) if row.n}
        for place, view in enumerate((_BY_START, _BY_INTENT))
    }  # fmt: skip
    return Outline(
        dict(sorted(found[_BY_START].items())),
        _most_frequent(found[_BY_INTENT].items()),
        Choices(
            sorted(row.channel for row in views.get(_BY_CHANNEL, ())),
            sorted(row.model_version for row in views.get(_BY_MODEL, ())),
        ),
    )


def _from_files(
    catalogue: Catalogue,
    dataset_id: str,
    wanted: StatisticsFilter,
    since: datetime,
    until: datetime,
    width: timedelta,
) -> Outline:
    statistics = catalogue.statistics
    in_range = wanted.model_copy(update={"since": since, "until": until})
    periods = statistics.series(dataset_id, in_range, width)
    intents = statistics.intents(dataset_id, in_range)
    return Outline(
        {period.start: _counts(period.confidence) for period in periods},
        _most_frequent((one.intent, _counts(one.confidence)) for one in intents),
        statistics.choices(dataset_id, since, until),
    )


def _counts(sums: Confidence) -> Counts:
    return Counts(sums.n, sums.flagged, sums.sum_micros)


def _most_frequent(intents: Iterable[tuple[str, Counts]]) -> dict[str, Counts]:
    return dict(sorted(intents, key=lambda item: (-item[1].n, item[0])))
