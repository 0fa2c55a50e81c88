"""The JSON fallback: batches wait on disk while the database is away, and are replayed in order."""

from intentloop_sink.spool.errors import SpoolError, SpoolFullError, SpoolHeldError
from intentloop_sink.spool.replay import Replayer, ReplayStep
from intentloop_sink.spool.segments import Extent, Run
from intentloop_sink.spool.settings import SpoolSettings
from intentloop_sink.spool.spool import Damage, Spool, SpooledBatch
from intentloop_sink.spool.sweep import Remainder, ReplayReport, WriterReport, replay_all, waiting

__all__ = [
    "Damage",
    "Extent",
    "Remainder",
    "ReplayReport",
    "ReplayStep",
    "Replayer",
    "Run",
    "Spool",
    "SpoolError",
    "SpoolFullError",
    "SpoolHeldError",
    "SpoolSettings",
    "SpooledBatch",
    "WriterReport",
    "replay_all",
    "waiting",
]
