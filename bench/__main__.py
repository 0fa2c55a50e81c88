"""Kafka to committed, beside a raw COPY of the same rows into the same tables, in the same run."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from bench import raw_copy, stages, traffic, worker
from intentloop_devstack import local_kafka, local_postgres
from intentloop_schemas.kafka import KafkaSettings
from intentloop_sink import migrate
from intentloop_stream.topics import create_topics

TOPIC = "bench"


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--events", type=int, default=500_000)
    parser.add_argument("--pairs", type=int, default=3, help="measurements of each, alternating")
    parser.add_argument("--folder", type=Path, default=Path("var/bench"))
    options = parser.parse_args()
    out = Console(width=100)
    with (
        local_kafka(options.folder, environ=os.environ, fresh=True) as kafka,
        local_postgres(options.folder, environ=os.environ, fresh=True) as postgres,
    ):
        out.print(f"Kafka: {kafka.description}\nPostgres: {postgres.description}")
        settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers)
        create_topics(settings, TOPIC)
        produced = traffic.produce(kafka.bootstrap_servers, TOPIC, options.events)
        ratios = []
        for pair in range(options.pairs):
            url = raw_copy.new_database(postgres.url, f"bench_{pair}")
            migrate(url)
            ours = worker.seconds(kafka.bootstrap_servers, TOPIC, url, produced)
            raw = raw_copy.seconds(postgres.url, url)
            ratios.append(raw / ours)
            out.print(
                f"pair {pair + 1}: intentloop {produced / ours:,.0f} events/s, "
                f"raw COPY {produced / raw:,.0f} rows/s, ratio {raw / ours:.2f}"
            )
            raw_copy.drop_database(postgres.url, url)
        out.print(f"median ratio {median(ratios):.2f}")
        out.print(_stages(stages.measure(kafka.bootstrap_servers, TOPIC, postgres.url)))


def _stages(measured: dict[str, float]) -> Table:
    table = Table("stage", "µs an event", title="Where the time goes, each stage alone")
    for name, seconds in measured.items():
        table.add_row(name, f"{seconds * 1e6:.2f}")
    return table


if __name__ == "__main__":
    started = time.monotonic()
    main()
    sys.stdout.write(f"took {time.monotonic() - started:.0f} s\n")
