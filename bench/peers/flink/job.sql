-- Flink SQL, as its documentation teaches: a Kafka source with a watermark for each partition, a
-- tumbling window, two JDBC sinks in one statement set, so that the topic is read once.
-- Tuned: large flushes, rewritten batches, objects reused, no materializer before an insert-only
-- sink. Arrays go as text: the connector writes none. Its dialect quotes no names, hence the view.

SET 'parallelism.default' = '2';
SET 'table.local-time-zone' = 'UTC';
SET 'pipeline.object-reuse' = 'true';
SET 'table.exec.sink.upsert-materialize' = 'NONE';
SET 'execution.checkpointing.interval' = '10 s';

CREATE TABLE conversations (
  phoneNumber STRING,
  messageText STRING,
  intent STRING,
  confidence DOUBLE,
  currentStep STRING,
  `timestamp` BIGINT,
  eventId STRING,
  channel STRING,
  modelVersion STRING,
  datasetId STRING,
  happened AS TO_TIMESTAMP_LTZ(`timestamp`, 3),
  WATERMARK FOR happened AS happened - INTERVAL '5' SECOND
) WITH (
  'connector' = 'kafka',
  'topic' = '${INTENTLOOP_TOPIC}',
  'properties.bootstrap.servers' = '${KAFKA_BOOTSTRAP_SERVERS}',
  'properties.group.id' = '${INTENTLOOP_GROUP}',
  'scan.startup.mode' = 'earliest-offset',
  'format' = 'json'
);

CREATE TABLE examples (
  id STRING,
  datasetid STRING,
  input STRING,
  intent STRING,
  tags STRING,
  createdat TIMESTAMP(3),
  eventid STRING,
  predictedintent STRING,
  confidence DOUBLE,
  reviewreasons STRING,
  sender STRING,
  channel STRING,
  modelversion STRING,
  currentstep STRING,
  PRIMARY KEY (id) NOT ENFORCED
) WITH (
  'connector' = 'jdbc',
  'url' = '${JDBC_URL}',
  'table-name' = 'bench_example',
  'sink.buffer-flush.max-rows' = '10000',
  'sink.buffer-flush.interval' = '1s'
);

CREATE TABLE windows (
  dataset_id STRING,
  intent STRING,
  channel STRING,
  model_version STRING,
  window_start TIMESTAMP(3),
  window_seconds INT,
  n BIGINT,
  flagged_n BIGINT,
  low_confidence_n BIGINT,
  fallback_n BIGINT,
  late_n BIGINT,
  confidence_sum_micros BIGINT,
  confidence_sumsq_micros BIGINT,
  confidence_min_micros INT,
  confidence_max_micros INT,
  confidence_histogram STRING,
  first_event_at TIMESTAMP(3),
  last_event_at TIMESTAMP(3),
  PRIMARY KEY (dataset_id, intent, channel, model_version, window_start, window_seconds) NOT ENFORCED
) WITH (
  'connector' = 'jdbc',
  'url' = '${JDBC_URL}',
  'table-name' = 'intent_window_stats',
  'sink.buffer-flush.max-rows' = '10000',
  'sink.buffer-flush.interval' = '1s'
);

CREATE VIEW events AS
SELECT *,
  COALESCE(datasetId, 'ds-auto-training') AS dataset,
  COALESCE(modelVersion, '') AS model,
  confidence < 0.7 AS flagged,
  CAST(FLOOR(confidence * 1e6 + 0.5) AS BIGINT) AS micros
FROM conversations;

INSERT INTO examples
SELECT
  'ex-' || CAST(`timestamp` / 1000 AS STRING) || '-'
    || SUBSTRING(SHA256(dataset || U&'\000A' || eventId), 1, 16),
  dataset,
  messageText,
  intent,
  '{"confidence:' || CAST(CAST(FLOOR(confidence * 100 + 0.5) AS INT) AS STRING)
    || '","source:' || REPLACE(REPLACE(phoneNumber, '\', '\\'), '"', '\"')
    || '","timestamp:' || CAST(`timestamp` AS STRING)
    || CASE WHEN flagged THEN '","needs_review"}' ELSE '"}' END,
  CAST(happened AS TIMESTAMP(3)),
  eventId,
  intent,
  confidence,
  CASE WHEN flagged THEN '{low_confidence}' ELSE '{}' END,
  phoneNumber,
  channel,
  model,
  currentStep
FROM events;

INSERT INTO windows
SELECT
  dataset, intent, channel, model, window_start, 30,
  COUNT(*), COUNT(*) FILTER (WHERE flagged), COUNT(*) FILTER (WHERE flagged),
  CAST(0 AS BIGINT), CAST(0 AS BIGINT),
  SUM(micros), SUM(micros * micros), CAST(MIN(micros) AS INT), CAST(MAX(micros) AS INT),
  '{' || CAST(COUNT(*) FILTER (WHERE micros / 50000 = 0) AS STRING)
${BINS}
    || ',' || CAST(COUNT(*) FILTER (WHERE micros / 50000 >= 19) AS STRING) || '}',
  CAST(TO_TIMESTAMP_LTZ(MIN(`timestamp`), 3) AS TIMESTAMP(3)),
  CAST(TO_TIMESTAMP_LTZ(MAX(`timestamp`), 3) AS TIMESTAMP(3))
FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(happened), INTERVAL '30' SECOND))
GROUP BY dataset, intent, channel, model, window_start, window_end;
