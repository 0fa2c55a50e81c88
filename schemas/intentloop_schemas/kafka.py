"""How every part reaches Kafka: one set of variables, mapped to librdkafka's names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

_REMEDIES = {
    "SASL authentication": "KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and KAFKA_SASL_MECHANISM",
    "certificate verify failed": "KAFKA_SSL_CA_LOCATION and the name in the certificate",
    "SSL handshake": "KAFKA_SECURITY_PROTOCOL",
}


def with_remedy(error: str) -> str:
    """Return what librdkafka says of a connection, and what to check."""
    fitting = (remedy for cause, remedy in _REMEDIES.items() if cause in error)
    usual = "KAFKA_BOOTSTRAP_SERVERS, the network, and KAFKA_SECURITY_PROTOCOL"
    return f"{error}: check {next(fitting, usual)}"


def _signs_in(value: Any, info: ValidationInfo) -> Any:
    protocol = info.data.get("security_protocol") or ""
    if value is None and protocol.startswith("SASL"):
        raise ValueError(f"is not set, and KAFKA_SECURITY_PROTOCOL is {protocol}")
    return value


def _exists(path: str | None) -> str | None:
    if path is not None and not Path(path).is_file():
        raise ValueError("there is no such file")
    return path


_Credential = AfterValidator(_signs_in), Field(validate_default=True)


class KafkaSettings(BaseSettings):
    """Where Kafka is and how to sign in to it."""

    model_config = SettingsConfigDict(
        env_prefix="KAFKA_", env_ignore_empty=True, frozen=True, use_attribute_docstrings=True
    )

    bootstrap_servers: str | None = None
    """Brokers as host:port, separated by commas."""
    security_protocol: SecurityProtocol | None = None
    """PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."""
    sasl_mechanism: Annotated[SaslMechanism | None, *_Credential] = None
    """PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."""
    sasl_username: Annotated[str | None, *_Credential] = None
    """User name for SASL."""
    sasl_password: Annotated[SecretStr | None, *_Credential] = None
    """Password for SASL."""
    ssl_ca_location: Annotated[str | None, AfterValidator(_exists)] = None
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
