"""A view that says of each partition what became of its records, and whether that adds up."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

# Positions from the first to the next are records with a fate, recorded losses, or holes: positions
# without a record, such as the markers of transactions. Fewer than no holes cannot be.
_RECONCILIATION = """
CREATE VIEW conversation_reconciliation AS
WITH batches AS (
  SELECT topic_id, partition, min(topic) AS topic, min(first_position) AS first_position,
         sum(next_position - first_position)::bigint AS positions, sum(stored)::bigint AS stored,
         sum(duplicates)::bigint AS duplicates, sum(rejected)::bigint AS rejected
  FROM conversation_batch GROUP BY topic_id, partition),
losses AS (
  SELECT topic_id, partition, min(topic) AS topic, min(first_position) AS first_position,
         sum(next_position - first_position)::bigint AS positions
  FROM ingest_loss GROUP BY topic_id, partition),
gaps AS (
  SELECT topic_id, partition, count(*) AS gaps FROM conversation_batch_gaps
  GROUP BY topic_id, partition),
partitions AS (
  SELECT topic_id, partition, coalesce(o.topic, b.topic, l.topic) AS topic,
         least(b.first_position, l.first_position, o.next_position) AS first_position,
         o.next_position,
         coalesce(b.stored, 0) AS stored, coalesce(b.duplicates, 0) AS duplicates,
         coalesce(b.rejected, 0) AS rejected, coalesce(l.positions, 0) AS lost,
         coalesce(b.positions - b.stored - b.duplicates - b.rejected, 0) AS holes,
         coalesce(g.gaps, 0) AS gaps
  FROM ingest_offset o
  FULL JOIN batches b USING (topic_id, partition)
  FULL JOIN losses l USING (topic_id, partition)
  LEFT JOIN gaps g USING (topic_id, partition))
SELECT topic, topic_id, partition, first_position, next_position,
       stored, duplicates, rejected, lost, holes, gaps,
       next_position IS NOT NULL AND gaps = 0 AND holes >= 0 AS adds_up
FROM partitions
"""


def upgrade() -> None:
    """Create the view."""
    op.execute(_RECONCILIATION)


def downgrade() -> None:
    """Drop the view."""
    op.execute("DROP VIEW conversation_reconciliation")
