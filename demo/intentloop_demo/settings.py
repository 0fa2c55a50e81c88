"""Settings of the simulation in `intentloop up`."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class SimulationSettings(BaseSettings):
    """The simulated reviewer of `intentloop up`, who knows what each customer meant."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        env_prefix="INTENTLOOP_SIMULATION_",
        frozen=True,
        use_attribute_docstrings=True,
    )

    reviewer: bool = True
    """Whether somebody is simulated who reviews; false leaves the queue to people."""
    reviews_per_minute: float = Field(120, gt=0, le=60_000)
    """So many cards are decided in a minute at most."""
    audit_share: float = Field(0.1, ge=0, le=1)
    """Share of the messages that were not flagged which are audited, so that accuracy is known."""
    left_to_people: int = Field(5, ge=0)
    """So many flagged cards are left in the queue for whoever wants to try it."""
    train_after: int = Field(60, ge=1)
    """A training job is added each time that so many cards have been decided."""
