"""What is to be exported."""

from __future__ import annotations

from dataclasses import dataclass, field

from intentloop_sink.catalogue.filters import ExampleFilter
from intentloop_sink.export.row import DEFAULT_TEST_SHARE, Side


@dataclass(frozen=True, slots=True)
class Selection:
    """Examples of a dataset. `side` leaves out the others, `test_share` decides which they are."""

    dataset_id: str
    filter: ExampleFilter = field(default_factory=ExampleFilter)
    side: Side | None = None
    test_share: float = DEFAULT_TEST_SHARE
    shows_senders: bool = False
    """Senders in full, and the ids that may hold one."""
