"""Where the database is."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

_SCHEMES = ("postgres://", "postgresql://")


def _names_postgres(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(_SCHEMES):
        raise ValueError("write it as postgresql://user:password@host:5432/name")
    return url


class DatabaseSettings(BaseSettings):
    """The database that keeps examples, statistics and progress."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        frozen=True,
        # The value holds a password, and errors end up in logs.
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    database_url: Annotated[SecretStr, AfterValidator(_names_postgres)] | None = None
    """Postgres as postgresql://user:password@host:5432/name; postgres:// means the same."""

    def required_url(self) -> str:
        """Return the URL, password and all. Raises ValueError when DATABASE_URL is not set."""
        if self.database_url is None:
            raise ValueError(
                "DATABASE_URL is not set: give it as postgresql://user:password@host:5432/name"
            )
        return self.database_url.get_secret_value()
