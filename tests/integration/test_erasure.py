"""`intentloop erase` on real Kafka and Postgres: gone everywhere, whatever is replayed after it."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from intentloop_producer import ConversationLogger, LoggerSettings
from intentloop_producer.journal import Journal
from intentloop_schemas import DeadLetter, DeadLetterReason, Event
from intentloop_schemas.kafka import KafkaSettings
from intentloop_sink.queries import queries
from intentloop_stream.quarantine import Quarantine
from support import tables
from support.processes import StartWorker
from support.site import (
    ASHA,
    BELA,
    Intentloop,
    Site,
    dead_letters,
    event,
    is_hers,
    leave_spool,
    row,
    senders,
)
from support.traffic import Message, produce

PATIENCE = 60


def days_ago(days: int) -> int:
    return int(time.time() * 1000) - days * 86_400_000


def record(sent: dict[str, Any], *, key: bytes | None = None) -> Message:
    value = json.dumps(sent).encode()
    return Message(key or sent["phoneNumber"].encode(), value, sent["timestamp"], b"")


def poison(sender: str) -> list[Message]:
    """Records that no event can be made of: one by its key, one by its content alone."""
    late = event(sender, 500, confidence=1.5)
    torn = json.dumps(event(sender, 501)).encode()[:-1]
    return [record(late), Message(b"", torn, late["timestamp"] + 1, b"")]


def test_an_erased_sender_stays_erased_after_everything_is_replayed(
    site: Site, intentloop: Intentloop, start_worker: StartWorker, eventually: Any, tmp_path: Path
) -> None:
    log = traffic()
    produced = produce(site.servers, site.topic, iter(log))
    worker = start_worker(BATCH_SECONDS="0.2")
    eventually(lambda: tables.accounted(site.url) == produced, PATIENCE, "all is stored")
    assert worker.stop() == 0
    spooled = leave_spool(site)
    leave_journal(site, [event(ASHA, 700), event(BELA, 701)])
    leave_quarantined(site)
    letters = dead_letters(site)
    backup = shutil.copytree(site.fallback, tmp_path / "backup")
    journals = shutil.copytree(site.journals, tmp_path / "journals-backup")
    counted = events_counted(site)

    erase_everywhere(site, intentloop)
    assert list(map(whole, dead_letters(site))) == [whole(m) for m in letters if not is_hers(m)]
    assert intentloop("retention", "set", "ds-old", "--days", "30").exit_code == 0
    assert "ds-old: 4 examples" in intentloop("retention", "apply").stdout

    # The whole topic, every spool, every journal and every retry, as a backup would bring them.
    tables.query(site.url, "DELETE FROM ingest_offset")
    tables.query(site.url, "DELETE FROM conversation_batch")
    shutil.rmtree(site.fallback)
    shutil.copytree(backup, site.fallback)
    send_again(site, letters)
    redeliver(site, journals, eventually)
    again = produced + len(letters) + 2 + spooled
    start_worker(BATCH_SECONDS="0.2")
    eventually(lambda: tables.accounted(site.url) >= again, PATIENCE, "all is read again")

    shutil.rmtree(site.fallback / "quarantine")
    assert site.traces() == []
    assert senders(site) == {BELA}
    assert tables.query(site.url, "SELECT size FROM \"Dataset\" WHERE id = 'ds-old'") == [(0,)]
    # Two of the others' spooled events and one of their journal had not been stored before.
    assert events_counted(site) == counted + 3
    with queries(site.url) as ask:
        assert ask.gaps() == []
        totals = ask.totals()
    assert totals.accounted == again
    (suppressed,) = tables.query(site.url, "SELECT sum(suppressed) FROM conversation_batch")[0]
    assert suppressed == 20 + 2 * 2 + 1 + 2 + 4
    assert totals.rejected - suppressed == len(dead_letters(site)) - 2

    produce(site.servers, site.topic, iter([record(event(ASHA, 3_700_000))]))
    eventually(lambda: senders(site) == {ASHA, BELA}, PATIENCE, "who comes back is a new customer")


def traffic() -> list[Message]:
    """Return 20 messages of each, 4 old ones of another dataset, and 2 bad ones of each."""
    old = [event(BELA, n, timestamp=days_ago(40) + n, datasetId="ds-old") for n in range(4)]
    events = [event((ASHA, BELA)[n % 2], n) for n in range(40)] + old
    return [record(each) for each in events] + poison(ASHA) + poison(BELA)


def erase_everywhere(site: Site, intentloop: Intentloop) -> None:
    """Look first, then erase, and check the report against what is there."""
    found = {"database": 20, "spools": 2, "journals": 1, "dead letters": 2, "quarantine": 1}
    looked = intentloop("erase", "--sender", ASHA, "--dry-run")
    assert looked.exit_code == 0, looked.output
    assert {place: row(looked.stdout, place) for place in found} == {
        place: (number, 0) for place, number in found.items()
    }
    assert len(site.traces()) == len(found)

    erased = intentloop("erase", "--sender", ASHA)
    assert erased.exit_code == 0, erased.output
    assert {place: row(erased.stdout, place) for place in found} == {
        place: (number, number) for place, number in found.items()
    }
    assert ASHA not in erased.stdout
    assert site.traces() == []


def events_counted(site: Site) -> int:
    return sum(sums[0] for sums in tables.statistics(site.url, "intent_window_stats").values())


def whole(message: Any) -> tuple[Any, ...]:
    return message.key(), message.value(), message.headers(), message.timestamp()


def leave_journal(site: Site, events: list[dict[str, Any]]) -> None:
    """Leave what a dead bot could not deliver."""
    journal = Journal(site.journals / site.topic, 1_000_000)
    journal.append([Event.model_validate(each).to_json() for each in events])
    journal.close()


def leave_quarantined(site: Site) -> None:
    quarantine = Quarantine(site.fallback / "quarantine")
    for number, sender in enumerate((ASHA, BELA)):
        letter = DeadLetter(
            reason=DeadLetterReason.INVALID_EVENT,
            error="too long",
            topic=site.topic,
            partition=0,
            offset=9_000 + number,
            timestamp=1,
            key=None,
            value=json.dumps({"x": "y" * 5_000, "phoneNumber": sender}).encode(),
        )
        quarantine.keep(letter)


def send_again(site: Site, letters: list[Any]) -> None:
    """Send the originals of dead letters, as a retry does that had read them before."""
    producer = Producer({"bootstrap.servers": site.servers})
    for letter in letters:
        headers = dict(letter.headers())
        producer.produce(
            site.topic,
            letter.value(),
            letter.key(),
            int(headers["dlq.partition"]),
            timestamp=int(headers["dlq.timestamp"]),
        )
    assert producer.flush(30) == 0


def redeliver(site: Site, journals: Path, eventually: Any) -> None:
    """Let a new bot deliver the journal of the dead one."""
    logger = ConversationLogger(
        settings=LoggerSettings(topic=site.topic, journal_dir=journals, report_seconds=0),
        kafka=KafkaSettings(bootstrap_servers=site.servers),
    )
    eventually(lambda: logger.counts.delivered == 2, PATIENCE, "the journal is delivered")
    logger.close()
