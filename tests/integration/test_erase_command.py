"""What `intentloop erase` and `intentloop retention` take, do and say, server by server."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from intentloop_producer.journal import Journal
from intentloop_schemas import Entry, Event, TopicPartition
from intentloop_schemas.masking import masked
from intentloop_schemas.pii import PiiMode, PiiRule
from intentloop_sink import PostgresSink, Stored
from intentloop_sink.spool import Spool
from support import tables
from support.batches import batch, entry
from support.site import ASHA, BELA, Intentloop, Site, event, files, leave_spool, row, senders


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
