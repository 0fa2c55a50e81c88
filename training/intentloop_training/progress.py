"""How work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, float], None]
"""Told what was done, and which share, 0 to 1, of all work that was. May raise to stop it."""


def untold(_what: str, _share: float) -> None:
    """Tell nobody."""
