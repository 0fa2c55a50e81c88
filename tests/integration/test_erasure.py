"""`intentloop erase` on real Kafka and Postgres: gone everywhere, whatever is replayed after it."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner, Result

from intentloop_cli.app import app
from intentloop_producer import ConversationLogger, LoggerSettings
from intentloop_producer.journal import Journal
from intentloop_schemas import DeadLetter, DeadLetterReason, Entry, Event, TopicPartition
from intentloop_schemas.kafka import KafkaSettings
from intentloop_schemas.masking import masked
from intentloop_schemas.pii import PiiMode, PiiRule
from intentloop_sink import PostgresSink, Stored
from intentloop_sink.queries import queries
from intentloop_sink.spool import Spool
from intentloop_stream.quarantine import Quarantine
from support import tables
from support.batches import batch, entry
from support.processes import StartWorker
from support.topic_reader import read_topic
from support.traffic import Message, produce

ASHA, BELA = "+919876543210", "+919876500000"
SECRET = "asha-s own words"
PATIENCE = 60
Intentloop = Callable[..., Result]


class Site(NamedTuple):
    """One machine: its topic, its database and its folders."""

    servers: str
    topic: str
    url: str
    fallback: Path
    journals: Path

    def traces(self) -> list[str]:
        """Return where a word of the erased sender can be read, but for Kafka's own log."""
        found = [str(path) for folder in (self.fallback, self.journals) for path in files(folder)]
        names = tables.query(
            self.url,
            "SELECT relname FROM pg_class "
            "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
        )
        for (name,) in names:
            if is_of_asha(str(tables.query(self.url, f'SELECT * FROM "{name}"')).encode()):
                found.append(name)
        if any(map(is_hers, dead_letters(self))):
            found.append("dead letters")
        return found


def files(folder: Path) -> Iterable[Path]:
    return [p for p in folder.rglob("*") if p.is_file() and is_of_asha(p.read_bytes())]


def is_of_asha(data: bytes) -> bool:
    return ASHA.encode() in data or SECRET.encode() in data


@pytest.fixture
def site(kafka: Any, conversations: str, database_url: str, tmp_path: Path) -> Site:
    return Site(
        kafka.bootstrap_servers,
        conversations,
        database_url,
        tmp_path / "fallback",
        tmp_path / "journal",
    )


@pytest.fixture
def intentloop(site: Site) -> Intentloop:
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": site.servers,
        "DATABASE_URL": site.url,
        "INTENTLOOP_TOPIC": site.topic,
        "FALLBACK_DIR": str(site.fallback),
        "INTENTLOOP_JOURNAL_DIR": str(site.journals),
    }

    def run(*arguments: str, **more: Any) -> Result:
        environ = {**environment, **more.pop("env", {})}
        return CliRunner(env=environ).invoke(app, [*arguments], **more)

    return run


def event(sender: str, number: int, **fields: Any) -> dict[str, Any]:
    return {
        "phoneNumber": sender,
        "messageText": f"{SECRET} {number}" if sender == ASHA else f"hello {number}",
        "intent": "greet",
        "confidence": 0.9,
        "timestamp": int(time.time() * 1000) - 3_600_000 + number,
        **fields,
    }


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


def row(report: str, place: str) -> tuple[int, int]:
    """Return what the report says was found and erased in a place."""
    (line,) = [line for line in report.splitlines() if line.strip("│ ").startswith(place)]
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    return int(cells[1]), int(cells[2])


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


def dead_letters(site: Site) -> list[Any]:
    return read_topic(site.servers, f"{site.topic}.dlq")


def is_hers(letter: Any) -> bool:
    return is_of_asha((letter.key() or b"") + (letter.value() or b""))


def events_counted(site: Site) -> int:
    return sum(sums[0] for sums in tables.statistics(site.url, "intent_window_stats").values())


def senders(site: Site) -> set[str]:
    return {row[0] for row in tables.query(site.url, 'SELECT DISTINCT sender FROM "Example"')}


def whole(message: Any) -> tuple[Any, ...]:
    return message.key(), message.value(), message.headers(), message.timestamp()


def leave_spool(site: Site) -> int:
    """Leave what a dead writer could not store; return how many records that is."""
    entries = [
        entry(n, phone_number=(ASHA, BELA)[n % 2], message_text=SECRET if n % 2 == 0 else "hi")
        for n in range(4)
    ]
    with Spool(site.fallback, "dead") as spool:
        spool.append([batch(entries, partition=TopicPartition("elsewhere", "elsewhere-1", 0))])
    return len(entries)


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


def test_it_says_when_kafka_s_own_copies_expire(
    site: Site, intentloop: Intentloop, make_topic: Any
) -> None:
    hour = 3_600_000
    config = {"retention.ms": str(24 * hour), "segment.ms": str(hour)}
    briefly = make_topic(config=config)
    kept = make_topic(config={"cleanup.policy": "compact"})

    before = datetime.now(UTC) + timedelta(hours=25)
    said = intentloop("erase", "--sender", ASHA, env={"INTENTLOOP_TOPIC": briefly}).stdout
    expiry = re.search(r"copies in \S+ are gone by (\d{4}-\d\d-\d\d \d\d:\d\d) UTC", said)
    assert expiry
    gone_by = datetime.fromisoformat(f"{expiry[1]}+00:00")
    assert timedelta(minutes=-1) < gone_by - before < timedelta(minutes=1)

    said = intentloop("erase", "--sender", ASHA, env={"INTENTLOOP_TOPIC": kept}).stdout
    assert f"Kafka keeps its copies in {kept} for ever" in said


def test_without_kafka_it_still_erases_and_says_what_nobody_looked_at(
    site: Site, intentloop: Intentloop
) -> None:
    nowhere = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    away = intentloop("erase", "--sender", ASHA, env=nowhere)
    assert away.exit_code == 1
    assert "failed" in away.stdout
    assert tables.query(site.url, "SELECT count(*) FROM erased_sender") == [(1,)]

    unset = intentloop("erase", "--sender", ASHA, env={"KAFKA_BOOTSTRAP_SERVERS": ""})
    assert unset.exit_code == 0
    assert "KAFKA_BOOTSTRAP_SERVERS is not set: nobody looked" in unset.stdout


def test_without_the_database_nothing_is_erased_anywhere(
    site: Site, intentloop: Intentloop
) -> None:
    leave_spool(site)
    away = {"DATABASE_URL": "postgresql://postgres@127.0.0.1:1/nowhere"}

    failed = intentloop("erase", "--sender", ASHA, env=away)

    assert failed.exit_code == 1
    assert "Nothing was erased" in failed.stderr
    assert files(site.fallback)


def test_pseudonyms_are_erased_with_the_number_and_masks_are_not(
    site: Site, intentloop: Intentloop
) -> None:
    key = "a-secret-that-all-bots-share"
    pseudonym = PiiRule(PiiMode.HMAC, key.encode()).pseudonym(ASHA)
    stored = [ASHA, pseudonym, masked(ASHA), "h:another"]
    store(site, [entry(n, phone_number=sender) for n, sender in enumerate(stored)])

    intentloop("erase", "--sender", ASHA, env={"INTENTLOOP_PII_KEY": key})
    assert senders(site) == {masked(ASHA), "h:another"}
    store(site, [entry(n, phone_number=sender) for n, sender in enumerate(stored, 10)])
    assert senders(site) == {masked(ASHA), "h:another"}


def test_senders_come_from_standard_input_too(site: Site, intentloop: Intentloop) -> None:
    store(site, [entry(0, phone_number=ASHA), entry(1, phone_number=BELA)])

    erased = intentloop("erase", "--sender", "-", input=f"{ASHA}\n\n  {BELA}\n")

    assert row(erased.stdout, "database") == (2, 2)
    for wrong in ("", "x" * 65):
        refused = intentloop("erase", "--sender", wrong)
        assert refused.exit_code == 2
        assert "1 to 64 characters" in refused.stderr


def test_live_writers_and_bots_are_left_alone_and_said_so(
    site: Site, intentloop: Intentloop
) -> None:
    leave_spool(site)
    journal = Journal(site.journals / site.topic, 1_000_000)
    journal.append([Event.model_validate(event(ASHA, 1)).to_json()])
    with Spool(site.fallback, "dead"):
        erased = intentloop("erase", "--sender", ASHA)
    journal.close()

    assert row(erased.stdout, "spools") == (2, 0)
    assert row(erased.stdout, "journals") == (1, 0)
    assert "held by live writers" in erased.stdout
    assert "held by running bots" in erased.stdout


def test_retention_is_set_shown_and_applied(site: Site, intentloop: Intentloop) -> None:
    now = int(time.time() * 1000)
    ages = [entry(n, timestamp=now - n * 86_400_000) for n in range(10)]
    store(site, ages)

    assert intentloop("retention", "set", "ds-auto-training", "--days", "5").exit_code == 0
    assert "for 5 days" in intentloop("retention", "show").stdout
    assert tables.query(site.url, 'SELECT count(*) FROM "Example"') == [(10,)]
    applied = intentloop("retention", "apply")
    assert "ds-auto-training: 5 examples" in applied.stdout
    assert tables.query(site.url, 'SELECT count(*) FROM "Example"') == [(5,)]
    assert "0 examples" in intentloop("retention", "apply").stdout
    assert intentloop("retention", "set", "ds-auto-training", "--forever").exit_code == 0
    assert "for ever" in intentloop("retention", "show").stdout

    for wrong in (["ds-a"], ["ds-a", "--days", "0"], ["DS A", "--days", "1"]):
        assert intentloop("retention", "set", *wrong).exit_code == 2
    both = intentloop("retention", "set", "ds-a", "--days", "1", "--forever")
    assert "either --days or --forever" in both.stderr


def store(site: Site, entries: list[Entry]) -> None:
    sink = PostgresSink(site.url, window_seconds=30, writer="test")
    line = TopicPartition("direct", f"direct-{entries[0].record.offset}", 0)
    assert isinstance(sink.store(sink.prepare([batch(entries, partition=line)])), Stored)
    sink.close()
