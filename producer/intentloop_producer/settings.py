"""Settings of the logger, read once when it is made."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from intentloop_schemas import CONVERSATIONS_TOPIC
from intentloop_schemas.review import DEFAULT_THRESHOLD

_VISIBLE = re.compile(r"[!-~]+")


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
    if not is_whole or not _VISIBLE.fullmatch(url):
        raise ValueError("is no address; give it as https://host or https://host:port/path")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("holds more than an address; the key belongs into ADMIN_BACKEND_API_KEY")
    return url


def _header_value(key: SecretStr) -> SecretStr:
    if not _VISIBLE.fullmatch(key.get_secret_value()):
        raise ValueError("holds characters that no key has: blanks, line ends, or other than ASCII")
    return key


class LoggerSettings(BaseSettings):
    """Whether a chatbot's conversations are logged, where to, and how that is reported."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        frozen=True,
        use_attribute_docstrings=True,
        validate_by_name=True,
    )

    enabled: bool = Field(default=True, alias="CONVERSATION_LOGGING_ENABLED")
    """With false the logger does nothing: no thread, no socket."""
    transport: Literal["kafka", "http"] | None = Field(None, alias="INTENTLOOP_TRANSPORT")
    """kafka or http; when not set, http if only ADMIN_BACKEND_URL is set, else kafka."""
    topic: str = Field(CONVERSATIONS_TOPIC, min_length=1, alias="INTENTLOOP_TOPIC")
    """Topic that the events are sent to."""
    confidence_threshold: float = Field(
        DEFAULT_THRESHOLD, ge=0, le=1, alias="CONFIDENCE_THRESHOLD_FOR_REVIEW"
    )
    """Messages with a lower confidence are counted as flagged in the log line."""
    batch_size: int = Field(10, ge=1, le=10_000, alias="BATCH_SIZE")
    """Over HTTP a request leaves with this many messages; a log line tells of this many sent."""
    batch_seconds: float = Field(30, gt=0, le=3_600, alias="BATCH_SECONDS")
    """Request and line come after this many seconds, however few messages there were."""
    queue_size: int = Field(10_000, ge=1, le=1_000_000, alias="INTENTLOOP_QUEUE_SIZE")
    """How many messages wait in memory; what comes while the queue is full is dropped."""
    journal_dir: Path = Field(Path("var/journal"), alias="INTENTLOOP_JOURNAL_DIR")
    """Folder where messages wait on disk until they are delivered; several bots may share it."""
    journal_max_mb: int = Field(100, ge=0, le=1_000_000, alias="INTENTLOOP_JOURNAL_MAX_MB")
    """Megabytes that a process keeps there; what comes while it is full is dropped. 0: none."""
    log_text: bool = Field(default=True, alias="INTENTLOOP_LOG_TEXT")
    """With false the bot's log shows no message text; it shows none in PII mode mask or hmac."""
    report_seconds: float = Field(60, ge=0, le=86_400, alias="INTENTLOOP_REPORT_SECONDS")
    """The logger reports its counts and what `log()` costs this often, and at its end; 0: never."""


class BackendSettings(BaseSettings):
    """The admin backend, for bots that log over HTTP."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        frozen=True,
        use_attribute_docstrings=True,
        validate_by_name=True,
    )

    url: Annotated[str, AfterValidator(_address)] | None = Field(None, alias="ADMIN_BACKEND_URL")
    """Where it is, as https://host; what stands behind the host is put before its paths."""
    api_key: Annotated[SecretStr, AfterValidator(_header_value)] | None = Field(
        None, alias="ADMIN_BACKEND_API_KEY"
    )
    """Key with the right to send conversations, sent as X-API-KEY."""


def explain_settings(error: ValidationError, env_prefix: str = "") -> str:
    """Say which variables are wrong and why, without their values."""
    return "; ".join(
        f"{env_prefix}{'.'.join(map(str, detail['loc'])).upper()}: "
        f"{detail['msg'].removeprefix('Value error, ')}"
        for detail in error.errors()
    )
