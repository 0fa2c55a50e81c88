"""What can go wrong with a spool."""

from __future__ import annotations


class SpoolError(OSError):
    """The spool cannot be used, or did not take a batch: nothing of it counts."""


class SpoolFullError(SpoolError):
    """There is no room left; nothing of what was to be appended counts."""


class SpoolHeldError(SpoolError):
    """Another live process holds the folder."""
