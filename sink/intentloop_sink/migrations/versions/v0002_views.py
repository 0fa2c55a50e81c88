"""Views: the dataset with its size, readable statistics, and the proof that nothing is missing."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

_DATASET = """
CREATE VIEW "Dataset" AS
SELECT d.id, d.name, d.type,
       coalesce(sum(c.examples), 0)::bigint AS size,
       d.created_at AS "createdAt",
       greatest(d.updated_at, max(c.updated_at)) AS "updatedAt"
FROM dataset d LEFT JOIN dataset_counter c ON c.dataset_id = d.id
GROUP BY d.id
"""

_EXAMPLES = """
CREATE VIEW examples AS
SELECT id, "datasetId" AS dataset_id, type, input, intent, tags, "createdAt" AS created_at,
       "eventId" AS event_id, "predictedIntent" AS predicted_intent, confidence,
       "reviewReasons" AS review_reasons, sender, channel, language,
       "modelVersion" AS model_version, "sessionId" AS session_id, "messageId" AS message_id,
       "currentStep" AS current_step, alternatives
FROM "Example"
"""

# Linear within the bin that holds the quantile; as exact as bins of 0.05 allow.
_QUANTILE = """
CREATE FUNCTION confidence_quantile(histogram bigint[], quantile double precision)
RETURNS double precision LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  WITH bins AS (
    SELECT bin, count, sum(count) OVER (ORDER BY bin) AS up_to, sum(count) OVER () AS total
    FROM unnest(histogram) WITH ORDINALITY AS h(count, bin))
  SELECT (bin - 1 + (quantile * total - (up_to - count)) / count) / 20
  FROM bins WHERE count > 0 AND up_to >= quantile * total
  ORDER BY bin LIMIT 1
$$
"""

# The lowest of the partitions' highest event times, 5 s back: what ends before is complete. A
# partition that nobody writes to any more holds nothing back.
_WATERMARK = """
CREATE VIEW conversation_watermark AS
SELECT to_timestamp(min(highest_timestamp) / 1000.0) - interval '5 seconds' AS watermark
FROM ingest_offset
WHERE highest_timestamp > 0
  AND updated_at >= (SELECT max(updated_at) FROM ingest_offset) - interval '5 minutes'
"""

_STATISTICS = """
CREATE VIEW {view} AS
SELECT s.dataset_id, s.intent, s.channel, s.model_version,
       s.window_start, s.window_start + s.window_seconds * interval '1 second' AS window_end,
       s.window_seconds, s.n,
       (s.confidence_sum_micros / (1e6 * s.n))::double precision AS mean_confidence,
       (sqrt(greatest(0, s.confidence_sumsq_micros * s.n
                         - power(s.confidence_sum_micros::numeric, 2)))
        / (1e6 * s.n))::double precision AS deviation,
       s.confidence_min_micros / 1e6::double precision AS min_confidence,
       s.confidence_max_micros / 1e6::double precision AS max_confidence,
       q.p10, q.p50, q.p90,
       s.flagged_n, s.flagged_n::double precision / s.n AS flagged_share,
       s.low_confidence_n, s.low_confidence_n::double precision / s.n AS low_confidence_share,
       s.fallback_n, s.fallback_n::double precision / s.n AS fallback_share,
       s.late_n, s.late_n::double precision / s.n AS late_share,
       s.first_event_at, s.last_event_at, s.updated_at,
       coalesce(s.window_start + s.window_seconds * interval '1 second' <= w.watermark, false)
         AS is_final
FROM {table} s
CROSS JOIN conversation_watermark w
CROSS JOIN LATERAL (
  SELECT least(greatest(confidence_quantile(s.confidence_histogram, 0.1), low), high) AS p10,
         least(greatest(confidence_quantile(s.confidence_histogram, 0.5), low), high) AS p50,
         least(greatest(confidence_quantile(s.confidence_histogram, 0.9), low), high) AS p90
  FROM (SELECT s.confidence_min_micros / 1e6::double precision AS low,
               s.confidence_max_micros / 1e6::double precision AS high) AS bounds) AS q
"""

# Empty when the ranges of every partition tile it, recorded losses included, and end where the
# partition stands.
_GAPS = """
CREATE VIEW conversation_batch_gaps AS
WITH ranges AS (
  SELECT topic_id, partition, first_position, next_position FROM conversation_batch
  UNION ALL
  SELECT topic_id, partition, first_position, next_position FROM ingest_loss
  UNION ALL
  SELECT topic_id, partition, next_position, NULL FROM ingest_offset),
neighbours AS (
  SELECT topic_id, partition, first_position,
         lag(next_position) OVER (PARTITION BY topic_id, partition
                                  ORDER BY first_position, next_position NULLS LAST)
           AS expected_position
  FROM ranges)
SELECT o.topic, n.topic_id, n.partition, n.expected_position, n.first_position,
       CASE WHEN n.first_position > n.expected_position THEN 'missing' ELSE 'twice' END AS problem
FROM neighbours n LEFT JOIN ingest_offset o USING (topic_id, partition)
WHERE n.first_position <> n.expected_position
"""

# `positions` exceeds `accounted` only by what is no record: transaction markers and the like.
_PARTITIONS = """
CREATE VIEW conversation_partition AS
SELECT topic, topic_id, partition,
       min(first_position) AS first_position, max(next_position) AS next_position,
       sum(next_position - first_position)::bigint AS positions,
       sum(stored + duplicates + rejected) AS accounted,
       sum(batches) AS batches, sum(stored) AS stored, sum(duplicates) AS duplicates,
       sum(rejected) AS rejected, sum(flagged) AS flagged,
       min(opened_at) AS first_opened_at, max(committed_at) AS last_committed_at
FROM conversation_batch
GROUP BY topic, topic_id, partition
"""


def upgrade() -> None:
    """Create the views."""
    for statement in (
        _DATASET,
        _EXAMPLES,
        _QUANTILE,
        _WATERMARK,
        _STATISTICS.format(view="intent_window", table="intent_window_stats"),
        _STATISTICS.format(view="intent_hourly", table="intent_hourly_stats"),
        _GAPS,
        _PARTITIONS,
    ):
        op.execute(statement)


def downgrade() -> None:
    """Drop the views."""
    for view in (
        "conversation_partition",
        "conversation_batch_gaps",
        "intent_hourly",
        "intent_window",
        "conversation_watermark",
    ):
        op.execute(f"DROP VIEW {view}")
    op.execute("DROP FUNCTION confidence_quantile(bigint[], double precision)")
    op.execute("DROP VIEW examples")
    op.execute('DROP VIEW "Dataset"')
