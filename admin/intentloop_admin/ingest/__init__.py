"""Conversations over HTTP: the same processing and the same store as the worker's."""

from intentloop_admin.ingest.body import MAX_ITEMS, MalformedBodyError, split_conversations
from intentloop_admin.ingest.intake import Intake
from intentloop_admin.ingest.line import Line
from intentloop_admin.ingest.post import Post
from intentloop_admin.ingest.writer import NotTakenError, Sink, Writer

__all__ = [
    "MAX_ITEMS",
    "Intake",
    "Line",
    "MalformedBodyError",
    "NotTakenError",
    "Post",
    "Sink",
    "Writer",
    "split_conversations",
]
