"""The log that HTTP has none of: a line of positions of this process's own.

A process begins a new line each time it starts. Where its last one ended it could learn from the
database alone, which may be away, and a line costs no more than a row of `ingest_offset`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable

from intentloop_admin.ingest.post import Post
from intentloop_schemas import Batch, ClosedBy, Source, TopicPartition
from intentloop_stream.processing import LocalRecord

TOPIC = "http"
MAX_CLOCK_LEAD_MS = 60_000
"""A client's clock may run this much ahead of ours before it moves the watermark."""


class Line:
    """Numbers what comes: a request is a batch, and batches tile the line.

    Args:
        writer: names the process.
        clock: wall time in epoch ms.
    """

    def __init__(self, writer: str, clock: Callable[[], int]) -> None:
        self._writer = writer
        self._clock = clock
        self.renew()

    def renew(self) -> None:
        """Begin a new line, because nobody knows where this one stands."""
        life = uuid.uuid4().hex[:8]
        self.partition = TopicPartition(TOPIC, f"{TOPIC}-{self._writer}-{life}", 0)
        self._position = 0
        self._highest = 0

    def batches(self, posts: Iterable[Post]) -> list[Batch]:
        """Return the requests as batches behind the end of the line, which stays where it is."""
        batches: list[Batch] = []
        position, highest = self._position, self._highest
        for post in posts:
            if not post.entries:
                continue
            first = position
            for position, entry in enumerate(post.entries, first):
                record = entry.record
                assert isinstance(record, LocalRecord)  # noqa: S101 - posts hold nothing else
                record.offset = position
                record.key = entry.event.phone_number.encode()
            position += 1
            highest = max(highest, self._newest(post))
            batches.append(self._batch(post, first, position, highest))
        return batches

    def advance(self, batches: list[Batch]) -> None:
        """Move the end of the line behind batches that are safe."""
        self._position = batches[-1].next_position
        self._highest = batches[-1].highest_timestamp

    def _newest(self, post: Post) -> int:
        latest = self._clock() + MAX_CLOCK_LEAD_MS
        times = (entry.event.timestamp for entry in post.entries)
        return max((time for time in times if time <= latest), default=0)

    def _batch(self, post: Post, first: int, end: int, highest: int) -> Batch:
        return Batch(
            self.partition,
            first,
            end,
            highest,
            post.entries[0].record.timestamp,
            ClosedBy.REQUEST,
            post.entries,
            source=Source.HTTP,
        )
