"""Recording what the log no longer had when its turn came."""

from __future__ import annotations

import logging

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

from intentloop_schemas import TopicPartition
from intentloop_sink import statements
from intentloop_sink.encoding import array_literal
from intentloop_sink.statements import Statement, numbers
from intentloop_sink.transaction import Timeouts, begin, send

log = logging.getLogger(__name__)


def record_loss(
    cursor: Cursor, timeouts: Timeouts, partition: TopicPartition, next_position: int, writer: str
) -> None:
    """Move a partition on to `next_position` and record what was skipped. Commits."""
    position = begin(cursor, timeouts, [partition]).positions.get(partition)
    if position is None or position >= next_position:
        cursor.execute("ROLLBACK")
        return
    topic, topic_id, number = partition
    loss = (topic_id, number, position, next_position, topic, writer)
    line = (array_literal([topic_id]), *(numbers([n]) for n in (number, next_position, 0)))
    send(
        cursor,
        [
            Statement(statements.INSERT_LOSS, loss),
            Statement(statements.ADVANCE_LINES, (writer, *line)),
            Statement("COMMIT", ()),
        ],
    )
    log.error("%s lost positions %s to %s", partition, position, next_position)
