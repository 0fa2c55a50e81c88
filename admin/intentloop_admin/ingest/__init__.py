"""Conversations over HTTP: the same processing and the same store as the worker's."""

from intentloop_admin.ingest.body import MAX_ITEMS, MalformedBodyError, read_conversations
from intentloop_admin.ingest.intake import Intake
from intentloop_admin.ingest.line import Line
from intentloop_admin.ingest.post import Post, Received
from intentloop_admin.ingest.writer import NotTakenError, Sink, Writer

__all__ = [
    "MAX_ITEMS",
    "Intake",
    "Line",
    "MalformedBodyError",
    "NotTakenError",
    "Post",
    "Received",
    "Sink",
    "Writer",
    "read_conversations",
]
