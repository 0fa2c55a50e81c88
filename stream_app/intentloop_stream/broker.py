"""The connection settings of Kafka in Faust's terms."""

from __future__ import annotations

import ssl

from faust import SASLCredentials, SSLCredentials

from intentloop_schemas.kafka import KafkaSettings
from intentloop_stream.transport import SCHEME


def broker_urls(kafka: KafkaSettings) -> list[str]:
    """Return the brokers as URLs of the chunked transport.

    Raises ValueError when no broker is set.
    """
    servers = str(kafka.librdkafka()["bootstrap.servers"])
    return [f"{SCHEME}://{server.strip()}" for server in servers.split(",")]


def credentials(kafka: KafkaSettings) -> SASLCredentials | SSLCredentials | None:
    """Return what Faust needs to sign in, or None for a plain connection."""
    protocol = kafka.security_protocol or "PLAINTEXT"
    context = (
        ssl.create_default_context(cafile=kafka.ssl_ca_location)
        if protocol.endswith("SSL")
        else None
    )
    if protocol.startswith("SASL"):
        password = kafka.sasl_password.get_secret_value() if kafka.sasl_password else None
        return SASLCredentials(
            username=kafka.sasl_username,
            password=password,
            ssl_context=context,
            mechanism=kafka.sasl_mechanism,
        )
    return SSLCredentials(context) if context else None
