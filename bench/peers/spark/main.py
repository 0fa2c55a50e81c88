"""Spark Structured Streaming: foreachBatch, as its documentation teaches for several outputs.

Rows go through Spark's JDBC writer with rewritten batches. Windows are grouped within the batch and
added to the table in one transaction with the batch's number, so that a repeated batch adds nothing
twice.
"""

from __future__ import annotations

import os
from functools import reduce
from urllib.parse import urlsplit

import psycopg2
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - as everybody calls it
from pyspark.sql.types import DoubleType, LongType, StringType, StructField, StructType

from bench.peers import rows

RECORDS = 200_000
_SCHEMA = StructType(
    [
        StructField("phoneNumber", StringType()),
        StructField("messageText", StringType()),
        StructField("intent", StringType()),
        StructField("confidence", DoubleType()),
        StructField("currentStep", StringType()),
        StructField("timestamp", LongType()),
        StructField("eventId", StringType()),
        StructField("channel", StringType()),
        StructField("modelVersion", StringType()),
        StructField("datasetId", StringType()),
    ]
)
_BATCHES = "CREATE TABLE IF NOT EXISTS bench_batch (id bigint PRIMARY KEY)"
_NEW_BATCH = "INSERT INTO bench_batch VALUES (%s) ON CONFLICT DO NOTHING"


def main() -> None:
    """Run until told to end."""
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.driver.extraClassPath", os.environ["BENCH_JARS"])
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.memory", "2g")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.ui.enabled", "false")
        .config("spark.local.dir", os.environ["BENCH_FOLDER"])
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    records = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", os.environ["KAFKA_BOOTSTRAP_SERVERS"])
        .option("subscribe", os.environ["INTENTLOOP_TOPIC"])
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", RECORDS)
        .load()
    )
    with psycopg2.connect(os.environ["DATABASE_URL"]) as connection, connection.cursor() as cursor:
        cursor.execute(_BATCHES)
    query = (
        _events(records)
        .writeStream.foreachBatch(_store)
        .option("checkpointLocation", f"{os.environ['BENCH_FOLDER']}/checkpoint")
        .start()
    )
    rows.say_ready()
    query.awaitTermination()


def _events(records: DataFrame) -> DataFrame:
    events = records.select(F.from_json(F.col("value").cast("string"), _SCHEMA).alias("e"))
    return (
        events.select("e.*")
        .withColumn("datasetId", F.coalesce("datasetId", F.lit("ds-auto-training")))
        .withColumn("modelVersion", F.coalesce("modelVersion", F.lit("")))
        .withColumn("micros", F.floor(F.col("confidence") * 1e6 + 0.5).cast("long"))
        .withColumn("flagged", F.col("confidence") < rows.THRESHOLD)
    )


def _store(batch: DataFrame, number: int) -> None:
    batch.persist()
    _rows(batch).write.jdbc(
        _jdbc_url(),
        '"Example"',
        mode="append",
        properties={"driver": "org.postgresql.Driver", "batchsize": "10000"},
    )
    windows = {tuple(row[:6]): [*row[6:]] for row in _windows(batch).collect()}
    with psycopg2.connect(os.environ["DATABASE_URL"]) as connection, connection.cursor() as cursor:
        cursor.execute(_NEW_BATCH, (number,))
        if cursor.rowcount and windows:
            rows.upsert(cursor, "intent_window_stats", windows)
            rows.upsert(cursor, "intent_hourly_stats", rows.hours(windows))
    batch.unpersist()


def _rows(batch: DataFrame) -> DataFrame:
    seconds = F.floor(F.col("timestamp") / 1000).cast("string")
    digest = F.substring(F.sha2(F.concat_ws("\n", "datasetId", "eventId"), 256), 1, 16)
    percent = F.floor(F.col("confidence") * 100 + 0.5).cast("string")
    tags = F.array(
        F.concat(F.lit("confidence:"), percent),
        F.concat(F.lit("source:"), F.col("phoneNumber")),
        F.concat(F.lit("timestamp:"), F.col("timestamp").cast("string")),
    )
    none = F.array().cast("array<string>")
    return batch.select(
        F.concat(F.lit("ex-"), seconds, F.lit("-"), digest).alias("id"),
        "datasetId",
        F.col("messageText").alias("input"),
        "intent",
        F.concat(tags, _flagged("needs_review", none)).alias("tags"),
        F.timestamp_millis("timestamp").alias("createdAt"),
        "eventId",
        F.col("intent").alias("predictedIntent"),
        "confidence",
        _flagged("low_confidence", none).alias("reviewReasons"),
        F.col("phoneNumber").alias("sender"),
        "channel",
        "modelVersion",
        "currentStep",
    ).sortWithinPartitions("id")


def _flagged(word: str, otherwise: Column) -> Column:
    return F.when(F.col("flagged"), F.array(F.lit(word))).otherwise(otherwise)


def _windows(batch: DataFrame) -> DataFrame:
    start = F.col("timestamp") - F.col("timestamp") % rows.WINDOW_MS
    flagged = F.sum(F.col("flagged").cast("long"))
    bins = F.least(F.floor(F.col("micros") / 50_000), F.lit(19))
    histogram = [F.sum((bins == number).cast("long")) for number in range(20)]
    keys = ("datasetId", "intent", "channel", "modelVersion")
    return batch.groupBy(*keys, start.alias("start"), F.lit(30).alias("seconds")).agg(
        F.count("*"),
        flagged.alias("flagged_n"),
        flagged.alias("low_confidence_n"),
        F.lit(0),
        F.lit(0),
        F.sum("micros"),
        F.sum(F.col("micros") * F.col("micros")),
        F.min("micros"),
        F.max("micros"),
        reduce(F.concat, [F.array(count) for count in histogram]),
        F.min("timestamp"),
        F.max("timestamp"),
    )


def _jdbc_url() -> str:
    parts = urlsplit(os.environ["DATABASE_URL"])
    login = f"user={parts.username}" + (f"&password={parts.password}" if parts.password else "")
    place = f"{parts.hostname}:{parts.port or 5432}{parts.path}"
    return f"jdbc:postgresql://{place}?{login}&reWriteBatchedInserts=true"


if __name__ == "__main__":
    main()
