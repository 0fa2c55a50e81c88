"""Settings of the API, read once when it starts."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

_MIN_KEY_LENGTH = 20
_MEGABYTE = 1 << 20


def _is_long(key: SecretStr) -> SecretStr:
    if len(key.get_secret_value()) < _MIN_KEY_LENGTH:
        raise ValueError(f"use at least {_MIN_KEY_LENGTH} random characters")
    return key


class ApiSettings(BaseSettings):
    """Where the API listens, who may use it, and how much it takes at a time."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        frozen=True,
        # A value may be a secret, and errors end up in logs.
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        validate_by_name=True,
    )

    host: str = Field("127.0.0.1", alias="INTENTLOOP_API_HOST")
    """Address to listen at; 0.0.0.0 for all, then behind a proxy that speaks TLS."""
    port: int = Field(8000, ge=0, le=65_535, alias="INTENTLOOP_API_PORT")
    """Port to listen at."""
    admin_key: Annotated[SecretStr, AfterValidator(_is_long)] | None = Field(
        None, alias="INTENTLOOP_ADMIN_KEY"
    )
    """A first key, which may do everything but see senders; better ones: `intentloop keys`."""
    requests_per_minute: int = Field(30_000, ge=0, alias="INTENTLOOP_API_RATE_LIMIT")
    """Requests a minute that one key may make, unless it has a limit of its own; 0 means any."""
    max_body_mb: int = Field(16, ge=1, le=1_024, alias="INTENTLOOP_API_MAX_BODY_MB")
    """Megabytes that one request may send, unpacked."""
    body_seconds: float = Field(30, gt=0, le=3_600, alias="INTENTLOOP_API_BODY_SECONDS")
    """Seconds that a client may take to send one request."""
    cors_origins: str = Field("", alias="INTENTLOOP_API_CORS_ORIGINS")
    """Origins, separated by commas, whose pages may call the API; none unless named."""

    @property
    def max_body_bytes(self) -> int:
        """Return the bound of a body in bytes."""
        return self.max_body_mb * _MEGABYTE

    @property
    def origins(self) -> list[str]:
        """Return the origins one by one."""
        return [origin.strip() for origin in self.cors_origins.split(",") if origin.strip()]
