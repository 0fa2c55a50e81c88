"""Who sent a record that need not be a valid event."""

from __future__ import annotations

import json
import re
from contextlib import suppress

# Inside another string its quotes would be escaped, so that no message text looks like this.
_SENDER = re.compile(rb'"phoneNumber"\s*:\s*("(?:[^"\\]|\\.)*"|-?\d+)')


def senders_in(data: bytes) -> set[str]:
    """Return what `phoneNumber` holds, wherever it occurs in JSON, whole or damaged."""
    senders = set()
    for found in _SENDER.findall(data):
        with suppress(ValueError):
            senders.add(str(json.loads(found)))
    return senders


def senders_of(key: bytes | None, value: bytes | None) -> set[str]:
    """Return who may have sent a record: its key, and what its value says."""
    named = {key.decode(errors="replace")} if key else set()
    return named | senders_in(value or b"")
