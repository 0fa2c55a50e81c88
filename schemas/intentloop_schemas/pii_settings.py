"""How much of a sender is kept: one pair of variables for whoever takes events in."""

from __future__ import annotations

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from intentloop_schemas.pii import PiiMode, PiiRule


class PiiSettings(BaseSettings):
    """How senders are stored; docs/privacy.md says what each mode hides."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        frozen=True,
        use_attribute_docstrings=True,
        validate_by_name=True,
    )

    mode: PiiMode = Field(PiiMode.PLAIN, alias="INTENTLOOP_PII_MODE")
    """plain, mask (`+91******3210`) or hmac (`h:` and 22 characters)."""
    key: SecretStr | None = Field(None, alias="INTENTLOOP_PII_KEY")
    """Secret of mode hmac, the same for all bots; with mode mask it protects derived event ids."""

    def rule(self) -> PiiRule:
        """Return the rule; raises ValueError when mode hmac has no key."""
        key = self.key.get_secret_value().encode() if self.key else b""
        if self.mode is PiiMode.HMAC and not key:
            raise ValueError(
                "INTENTLOOP_PII_MODE is hmac, but INTENTLOOP_PII_KEY is not set; set it to a long "
                "random text, the same for all bots, or choose plain or mask"
            )
        return PiiRule(self.mode, key)
