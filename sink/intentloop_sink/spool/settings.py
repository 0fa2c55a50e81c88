"""Where batches wait while the database is away."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

_MEGABYTE = 1 << 20


class SpoolSettings(BaseSettings):
    """The folder of the JSON fallback, and how large it may grow."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        frozen=True,
        use_attribute_docstrings=True,
        validate_by_name=True,
    )

    folder: Path = Field(Path("var/fallback"), alias="FALLBACK_DIR")
    """Folder for what cannot be stored yet; each worker has a folder of its own inside it."""
    max_mb: int = Field(1024, ge=1, alias="INTENTLOOP_FALLBACK_MAX_MB")
    """Megabytes that one worker may keep there; when they are full, Kafka keeps the rest."""

    @property
    def max_bytes(self) -> int:
        """Return the bound in bytes."""
        return self.max_mb * _MEGABYTE
