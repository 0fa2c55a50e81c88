"""What the review queue forgets when examples or datasets are deleted."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

TENDING = 0x1_47E7_2E51
"""The advisory lock of whoever makes cards of what is flagged: any number nobody else locks."""
DRAWING = 0x1_47E7_A0D1
"""The same of whoever draws the audit."""

# Otherwise a card that is being made of an example would outlive it.
_KEEP_CARDS_FROM_COMING = text(
    f"SELECT pg_advisory_xact_lock({TENDING}), pg_advisory_xact_lock({DRAWING})"
)

# Cards before copies and examples, in order: so does everybody, and nobody waits in a circle.
_LOCK_CARDS = text("""
SELECT id FROM review_card
WHERE id IN (SELECT card_id FROM review_copy WHERE example_id = ANY(:ids)) ORDER BY id FOR UPDATE
""")

_FORGET_COPIES = text("""
WITH gone AS (DELETE FROM review_copy WHERE example_id = ANY(:ids) RETURNING card_id),
counts AS (SELECT card_id, count(*) AS gone FROM gone GROUP BY card_id)
UPDATE review_card AS c
SET copies = greatest(0, c.copies - counts.gone),
    priority = c.priority * greatest(0, c.copies - counts.gone) / greatest(1, c.copies)
FROM counts WHERE c.id = counts.card_id
RETURNING c.id
""")

# A card shows what was written, so none outlives its last message. Its decisions do: they say
# who decided what and when, not what was written.
_FORGET_EMPTY = text("""
DELETE FROM review_card c
WHERE id = ANY(:cards) AND NOT EXISTS (SELECT 1 FROM review_copy WHERE card_id = c.id)
""")

# The text on a card may be that of a copy which is gone.
_SHOW_ANOTHER = text("""
UPDATE review_card AS c SET text = e.input, sample_id = e.id
FROM review_copy p JOIN "Example" e ON e.id = p.example_id
WHERE c.id = ANY(:cards) AND c.sample_id = ANY(:ids) AND p.card_id = c.id
  AND p.example_id = (SELECT max(example_id) FROM review_copy WHERE card_id = c.id)
""")

_DATASET = (
    text("""DELETE FROM review_copy p USING review_card c
            WHERE c.id = p.card_id AND c.dataset_id = :dataset"""),
    text("""DELETE FROM review_skip s USING review_card c
            WHERE c.id = s.card_id AND c.dataset_id = :dataset"""),
    text("DELETE FROM review_card WHERE dataset_id = :dataset"),
    text("DELETE FROM review_decision WHERE dataset_id = :dataset"),
    text("DELETE FROM review_audit_day WHERE dataset_id = :dataset"),
)


def forget_examples(connection: Connection, ids: Sequence[str]) -> None:
    """Forget examples that are about to be deleted. Whoever deletes examples calls this first."""
    if connection.dialect.name != "postgresql" or not ids:
        return
    connection.execute(_KEEP_CARDS_FROM_COMING)
    connection.execute(_LOCK_CARDS, {"ids": list(ids)})
    cards = connection.execute(_FORGET_COPIES, {"ids": list(ids)}).scalars().all()
    connection.execute(_FORGET_EMPTY, {"cards": list(cards)})
    connection.execute(_SHOW_ANOTHER, {"cards": list(cards), "ids": list(ids)})


def forget_dataset(connection: Connection, dataset_id: str) -> None:
    """Forget a dataset that is about to be deleted, with all decisions."""
    if connection.dialect.name == "postgresql":
        connection.execute(_KEEP_CARDS_FROM_COMING)
        for statement in _DATASET:
            connection.execute(statement, {"dataset": dataset_id})
