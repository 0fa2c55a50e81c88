"""Keeps senders out of the log."""

from __future__ import annotations

_SHORTEST_SENDER = 5
"""A shorter sender names nobody, and replacing it would garble the text."""


def without(sender: object, text: str) -> str:
    """Return `text` with each appearance of the sender replaced."""
    if isinstance(sender, str) and len(sender) >= _SHORTEST_SENDER:
        return text.replace(sender, "<sender>")
    return text
