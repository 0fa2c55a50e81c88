"""What must not be kept: events of erased senders, and what is past its dataset's retention."""

from intentloop_sink.privacy.erasure import Erased, erase_examples, find_examples
from intentloop_sink.privacy.retention import Applied, apply_retention

__all__ = [
    "Applied",
    "Erased",
    "apply_retention",
    "erase_examples",
    "find_examples",
]
