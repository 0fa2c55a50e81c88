"""Senders made unreadable: `+91******3210`."""

from __future__ import annotations

_MIN_LENGTH = 11
_HEAD, _TAIL = 3, 4
_SHORT_TAIL = 2


def mask_sender(sender: str) -> str:
    """Return a sender with its middle hidden; of a short one only the last characters remain."""
    head, tail = (_HEAD, _TAIL) if len(sender) >= _MIN_LENGTH else (0, _SHORT_TAIL)
    hidden = max(len(sender) - head - tail, 1)
    return sender[:head] + "*" * hidden + sender[head + hidden :]
