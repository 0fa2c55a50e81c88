"""Workers that break the promise in known ways, and what makes a stage for them.

Each is code that runs before a worker begins. Where something else would still hold the promise,
the stage takes that away, and an unchanged worker must pass on the same stage.
"""

from __future__ import annotations

ACKNOWLEDGE_BEFORE_THE_COMMIT = """
from intentloop_sink import transaction
write = transaction.Transaction._write
def too_early(self, cursor, prepared, ahead, shrunk):
    done = transaction.Statement("COMMIT; BEGIN;", ())
    transaction.send(cursor, [transaction._advance(ahead, self.writer), done])
    write(self, cursor, prepared, ahead, shrunk)
transaction.Transaction._write = too_early
"""
"""Whoever comes next goes on behind what was not stored yet."""

COUNT_DUPLICATES = """
from intentloop_sink import transaction
leave_out = transaction.leave_out_known
def leave_out_but_count(cursor, prepared):
    left = leave_out(cursor, prepared)
    left.windows, left.hours = prepared.windows, prepared.hours
    return left
transaction.leave_out_known = leave_out_but_count
"""

ALWAYS_CAREFUL = """
from intentloop_sink import PostgresSink
PostgresSink.is_careful = True
"""
"""The stage: without unique ids nothing makes a worker careful."""
LOOK_NOTHING_UP = f"""{ALWAYS_CAREFUL}
from intentloop_sink import transaction
transaction.leave_out_known = lambda cursor, prepared: prepared
"""
ANY_ID_TWICE = 'ALTER TABLE "Example" DROP CONSTRAINT "Example_pkey"'

ANY_RANGE_TWICE = """
ALTER TABLE conversation_batch DROP CONSTRAINT conversation_batch_pkey
"""
LOCK_NOTHING = """
from intentloop_sink import statements
assert "FOR UPDATE" in statements.LOCK_LINES
statements.LOCK_LINES = statements.LOCK_LINES.replace("FOR UPDATE", "")
"""

WINDOWS_READ_BACK = """
from intentloop_sink import statements
table = "intent_window_stats"
key = " AND ".join(
    f"o.{column.name} = {column.read.format('v.' + column.name)}"
    for column in statements._STATISTICS_KEY
)
before = f"coalesce((SELECT o.n FROM {table} AS o WHERE {key}), 0)"
sql = statements._UPSERT[table]
assert sql.count("n = t.n + excluded.n,") == sql.count(" v.n,") == 1
sql = sql.replace("n = t.n + excluded.n,", "n = excluded.n,").replace(" v.n,", f" v.n + {before},")
statements._UPSERT[table] = sql
"""
"""What another worker has added since is overwritten."""
SLOW_COMMIT = """
CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN PERFORM pg_sleep(0.3); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER slow_commit AFTER UPDATE ON ingest_offset
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION dawdle();
"""

UNLINK_BEFORE_THE_COMMIT = """
from intentloop_sink.spool import replay
store = replay.Replayer._store
def unlink_first(self, group):
    self._spool.done(group)
    self._failpoint("replay.after_unlink")
    return store(self, group)
replay.Replayer._store = unlink_first
"""

_SPOOL_SYNCS_WITH = """
import os
from intentloop_sink.spool import spool
def sync(descriptor):
{body}
spool.Spool.__init__.__kwdefaults__["sync"] = sync
"""
NOTE_EACH_FSYNC = _SPOOL_SYNCS_WITH.format(
    body="""
    os.fsync(descriptor)
    path = os.readlink(f"/proc/self/fd/{descriptor}")
    held = os.listdir(path) if os.path.isdir(path) else os.fstat(descriptor).st_size
    with open(os.environ["SYNCED"], "a") as ledger:
        ledger.write(repr((path, held)) + "\\n")
"""
)
"""The stage: what a crash of the machine would leave."""
NO_FSYNC = _SPOOL_SYNCS_WITH.format(body="    pass")

NO_FENCE = """
from intentloop_sink import transaction
transaction.fence = lambda batches, positions: list(batches)
"""
"""The stage: the store takes what it is given."""
KEEP_OPEN_BATCHES = f"""{NO_FENCE}
from intentloop_stream import pipeline
assign = pipeline.Pipeline.assign
async def keep(self, earliest):
    before = dict(self._assignments)
    positions = await assign(self, earliest)
    self._assignments |= {{p: held for p, held in before.items() if p not in earliest}}
    return positions
pipeline.Pipeline.assign = keep
"""

PLAIN_TAKE = f"""{NO_FENCE}
import asyncio
from collections import namedtuple
from functools import partial
from itertools import groupby
import faust
from intentloop_schemas import Batch, ClosedBy, ReviewRule, TopicPartition
from intentloop_sink import PostgresSink, Stored
from intentloop_stream import dead_letters
from intentloop_stream.configuration import Configuration
from intentloop_stream.processing import Decoder, Rejection
from intentloop_stream.processing.watermark import Watermark
from intentloop_stream.topics import topic_ids

Record = namedtuple("Record", "offset timestamp key value")
configuration = Configuration()
settings, kafka = configuration.worker, configuration.kafka
ids = topic_ids(kafka, [settings.topic])
sink = PostgresSink(configuration.database.required_url(), window_seconds=30, writer="take")
decoder, marks = Decoder(ReviewRule(), 30), {{}}
app = faust.App(
    settings.group, broker=f"kafka://{{kafka.bootstrap_servers}}", store="memory://",
    web_enabled=False, topic_allow_declare=False, topic_disable_leader=True,
    consumer_auto_offset_reset="earliest",
)

def place(event):
    return event.message.partition

@app.agent(app.topic(settings.topic, key_serializer="raw", value_serializer="raw"))
async def conversations(stream):
    async for events in stream.take_events(100, within=0.5):
        for number, group in groupby(sorted(events, key=place), key=place):
            await store(TopicPartition(settings.topic, ids[settings.topic], number), list(group))

async def store(partition, events):
    records = [
        Record(m.offset, round(m.timestamp * 1000), m.key, m.value)
        for m in (event.message for event in events)
    ]
    mark = marks.setdefault(partition, Watermark())
    items = decoder.decode(records, mark)
    bad = [item for item in items if isinstance(item, Rejection)]
    for rejection in bad:
        await dead_letters._put(app, dead_letters.rejected_letter(rejection, partition))
    batch = Batch(
        partition, records[0].offset, records[-1].offset + 1, mark.highest, records[0].timestamp,
        ClosedBy.SIZE, [item for item in items if item not in bad], len(bad),
    )
    outcome = await asyncio.to_thread(lambda: sink.store(sink.prepare([batch])))
    if not isinstance(outcome, Stored):
        raise RuntimeError(outcome)

faust.Worker(app, loglevel="info").execute_from_commandline()
"""
"""A whole worker of its own, as anybody would write it with Faust."""
