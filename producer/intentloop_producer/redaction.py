"""Keeps senders out of the log."""

from __future__ import annotations

_SHORTEST_SENDER = 5
"""A shorter sender names nobody, and replacing it would garble the text."""


def without(sender: object, text: str) -> str:
    """Return `text` with each appearance of the sender replaced."""
    # isinstance would ask an object that is no string for its class, and that may raise.
    if issubclass(type(sender), str) and len(str(sender)) >= _SHORTEST_SENDER:
        return text.replace(str(sender), "<sender>")
    return text
