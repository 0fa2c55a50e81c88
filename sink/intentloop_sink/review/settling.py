"""Brings a decision to the examples of its card, and takes it back."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, text

from intentloop_sink.catalogue.examples import REJECTED, REVIEWED, SIMULATED
from intentloop_sink.encoding import NEEDS_REVIEW
from intentloop_sink.review.cards import Verdict

SIMULATION = "simulation"
"""The reviewer's name of whoever only plays one; no key has it as its id."""

_CARD = text("""
SELECT c.id, c.decision_id, d.verdict, d.intent, d.reviewer
FROM review_card c JOIN review_decision d ON d.id = c.decision_id
WHERE c.id = :card AND c.state = 'decided' FOR UPDATE OF c
""")

_NEXT_COPIES = text("""
SELECT example_id FROM review_copy WHERE card_id = :card AND decision_id IS NULL
ORDER BY example_id LIMIT :limit
""")

_MARK_COPIES = text("""
UPDATE review_copy AS c
SET decision_id = :decision, prior_intent = e.intent
FROM "Example" e
WHERE c.example_id = ANY(:ids) AND e.id = c.example_id AND NOT e.tags @> ARRAY['reviewed']
""")

# One that somebody reviewed by hand stays as it is, and so does one that is gone: both are done.
_PASS_COPIES = text("""
UPDATE review_copy SET decision_id = :decision WHERE example_id = ANY(:ids) AND decision_id IS NULL
""")

_CHANGE_EXAMPLES = text("""
UPDATE "Example"
SET tags = array_cat(array_remove(tags, :needs_review), CAST(:tags AS text[])),
    intent = coalesce(CAST(:intent AS text), intent)
WHERE id = ANY(:ids) AND NOT tags @> ARRAY['reviewed']
""")

_SETTLED = text("UPDATE review_card SET is_settled = true WHERE id = :card")

_DECIDED_COPIES = text("""
SELECT example_id, prior_intent FROM review_copy
WHERE card_id = :card AND decision_id = :decision AND prior_intent IS NOT NULL ORDER BY example_id
""")

# Who has changed an example since means it: only what the decision made of it is taken back.
_RESTORE_EXAMPLES = text("""
UPDATE "Example" AS e
SET tags = array_cat(array_remove(array_remove(array_remove(e.tags, :reviewed), :rejected),
                                  :simulated),
                     CASE WHEN cardinality(e."reviewReasons") > 0 THEN ARRAY[:needs_review]
                          ELSE '{}'::text[] END),
    intent = before.intent
FROM unnest(CAST(:ids AS text[]), CAST(:intents AS text[])) AS before (id, intent)
WHERE e.id = before.id AND e.tags @> ARRAY['reviewed']
  AND e.intent = coalesce(CAST(:intent AS text), before.intent)
""")

_RELEASE_COPIES = text("""
UPDATE review_copy SET decision_id = NULL, prior_intent = NULL
WHERE card_id = :card AND decision_id = :decision
""")


def settle(connection: Connection, card: str, *, limit: int) -> int:
    """Decide up to `limit` copies of a decided card; return how many. Locks the card first."""
    decided = connection.execute(_CARD, {"card": card}).first()
    if decided is None:
        return 0
    ids = connection.execute(_NEXT_COPIES, {"card": card, "limit": limit}).scalars().all()
    if ids:
        copies = {"ids": list(ids), "decision": decided.decision_id}
        connection.execute(_MARK_COPIES, copies)
        connection.execute(_PASS_COPIES, copies)
        changes = {"tags": _tags(decided), "intent": decided.intent, "needs_review": NEEDS_REVIEW}
        connection.execute(_CHANGE_EXAMPLES, {"ids": list(ids), **changes})
    if len(ids) < limit:
        connection.execute(_SETTLED, {"card": card})
    return len(ids)


def _tags(decided: Row[Any]) -> list[str]:
    tags = [REVIEWED]
    if decided.verdict == Verdict.REJECT:
        tags.append(REJECTED)
    if decided.reviewer == SIMULATION:
        tags.append(SIMULATED)
    return tags


def unsettle(connection: Connection, card: str, decision: int, intent: str | None) -> None:
    """Take a decision back from the examples that it changed."""
    wanted = {"card": card, "decision": decision}
    rows = connection.execute(_DECIDED_COPIES, wanted).all()
    connection.execute(
        _RESTORE_EXAMPLES,
        {
            "ids": [row.example_id for row in rows],
            "intents": [row.prior_intent for row in rows],
            "intent": intent,
            "reviewed": REVIEWED,
            "rejected": REJECTED,
            "simulated": SIMULATED,
            "needs_review": NEEDS_REVIEW,
        },
    )
    connection.execute(_RELEASE_COPIES, wanted)
