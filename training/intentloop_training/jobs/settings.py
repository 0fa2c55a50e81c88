"""Where jobs are kept: all that those need who only ask for one."""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class JobSettings(BaseSettings):
    """The folder of the jobs; with a database they are there."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        env_prefix="INTENTLOOP_",
        frozen=True,
        use_attribute_docstrings=True,
        validate_by_name=True,
    )

    jobs_dir: Path = Path("var/jobs")
    """Folder of the jobs without a database."""
