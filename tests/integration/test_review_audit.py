"""The audit on a real Postgres: some of what was not flagged is drawn, and reviewed alike."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from intentloop_sink.review import DrawAudit, DrawShare, Queue, Verdict
from support import tables
from support.batches import entry
from support.desk import DATASET, Desk, unsure


def yesterday(offset: int) -> int:
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return int((midnight - timedelta(hours=20)).timestamp() * 1000) + offset * 60_000


def test_a_share_is_drawn_of_what_was_not_flagged_and_never_twice(desk: Desk) -> None:
    desk.receive(
        *(entry(i, message_text=f"sure {i}", timestamp=yesterday(i)) for i in range(200)),
        unsure(200, "flagged", timestamp=yesterday(50)),
    )
    since = datetime.fromtimestamp(yesterday(0) / 1000, UTC)
    half = DrawShare(dataset_id=DATASET, since=since, until=since + timedelta(days=1), share=0.5)

    drawn = desk.catalogue.apply(half)
    assert 60 < drawn < 140
    assert desk.catalogue.apply(half) == drawn
    [(sure, all_of_them)] = tables.query(
        desk.url,
        "SELECT count(*) FILTER (WHERE queue = 'audit' AND text LIKE 'sure%'),"
        " count(*) FILTER (WHERE queue = 'audit') FROM review_card",
    )
    assert sure == all_of_them == drawn


@pytest.fixture
def audited(desk: Desk) -> Callable[[], int]:
    desk.receive(
        *(entry(i, message_text=f"sure {i}", timestamp=yesterday(i)) for i in range(100)),
        unsure(100, "flagged", timestamp=yesterday(50)),
    )
    return lambda: desk.catalogue.apply(DrawAudit(wanted=20))


def test_the_audit_draws_unflagged_messages_once_a_day(
    desk: Desk, audited: Callable[[], int]
) -> None:
    assert (audited(), audited()) == (20, 0)
    drawn = tables.query(desk.url, "SELECT text FROM review_card WHERE queue = 'audit'")
    assert len(set(drawn)) == 20
    assert ("flagged",) not in drawn
    sql = "SELECT population, drawn FROM review_audit_day WHERE drawn > 0"
    assert tables.query(desk.url, sql) == [(100, 20)]


def test_an_audited_message_is_corrected_like_any_other(
    desk: Desk, audited: Callable[[], int]
) -> None:
    audited()
    card = desk.take(queue=Queue.AUDIT)
    assert card is not None
    desk.decide(card, Verdict.CORRECT, intent="cancel_order")

    sql = """SELECT intent, tags[4:] FROM "Example" WHERE id = %s"""
    assert tables.query(desk.url, sql, card.sample_id) == [("cancel_order", ["reviewed"])]
    desk.undo()
    assert tables.query(desk.url, sql, card.sample_id) == [("track_order", [])]
