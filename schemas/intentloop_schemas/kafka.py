"""How every part reaches Kafka: one set of variables, mapped to librdkafka's names."""

from __future__ import annotations

from typing import Literal

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]


class KafkaSettings(BaseSettings):
    """Where Kafka is and how to sign in to it."""

    model_config = SettingsConfigDict(
        env_prefix="KAFKA_", env_ignore_empty=True, frozen=True, use_attribute_docstrings=True
    )

    bootstrap_servers: str | None = None
    """Brokers as host:port, separated by commas."""
    security_protocol: SecurityProtocol | None = None
    """PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."""
    sasl_mechanism: str | None = None
    """PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."""
    sasl_username: str | None = None
    """User name for SASL."""
    sasl_password: SecretStr | None = None
    """Password for SASL."""
    ssl_ca_location: str | None = None
    """File with the certificates of the authorities to trust."""

    def librdkafka(self) -> dict[str, str | int | float | bool]:
        """Return the connection part of a confluent-kafka configuration.

        Raises ValueError when no broker is set.
        """
        if self.bootstrap_servers is None:
            raise ValueError("KAFKA_BOOTSTRAP_SERVERS is not set")
        password = self.sasl_password.get_secret_value() if self.sasl_password else None
        named = {
            "bootstrap.servers": self.bootstrap_servers,
            "security.protocol": self.security_protocol,
            "sasl.mechanism": self.sasl_mechanism,
            "sasl.username": self.sasl_username,
            "sasl.password": password,
            "ssl.ca.location": self.ssl_ca_location,
        }
        return {name: value for name, value in named.items() if value is not None}
