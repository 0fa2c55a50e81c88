"""Phone numbers made unreadable: `+91******3210`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

PHONE = r"\+?\d(?:[ .()/-]{0,2}\d){6,}"
"""Seven digits or more, as people write them: with spaces, dots, dashes and brackets between."""

_MIN_LENGTH = 11
_HEAD, _TAIL = 3, 4
_SHORT_TAIL = 2
_PHONE = re.compile(PHONE)


def masked(sender: str) -> str:
    """Return a sender with its middle hidden; of a short one only the last characters remain.

    Masking again changes nothing.
    """
    head, tail = (_HEAD, _TAIL) if len(sender) >= _MIN_LENGTH else (0, _SHORT_TAIL)
    hidden = max(len(sender) - head - tail, 1)
    return sender[:head] + "*" * hidden + sender[head + hidden :]


def masked_text(text: str, senders: Iterable[str] = (), mask: Callable[[str], str] = masked) -> str:
    """Return a text in which `mask` has replaced phone numbers and the given senders."""
    for sender in senders:
        if sender:
            text = text.replace(sender, mask(sender))
    return _PHONE.sub(lambda found: mask(found[0]), text)
