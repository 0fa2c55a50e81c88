"""Kafka and Postgres on this machine, for the demo, the benchmarks and the tests.

Both are found or started the best way the machine allows, listen on loopback only, keep everything
in one folder, and end with the process that asked for them, however it ends.
"""

from intentloop_devstack.errors import NotOursError, StartError, UnavailableError
from intentloop_devstack.kafka import KafkaServer, local_kafka
from intentloop_devstack.kafka_java import Secured
from intentloop_devstack.postgres import PostgresServer, local_postgres

__all__ = [
    "KafkaServer",
    "NotOursError",
    "PostgresServer",
    "Secured",
    "StartError",
    "UnavailableError",
    "local_kafka",
    "local_postgres",
]
