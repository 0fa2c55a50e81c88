"""`intentloop dlq` on real Kafka: dead letters listed, shown, exported, and sent again once."""

from __future__ import annotations

import json
import time
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message, Producer
from typer.testing import CliRunner, Result

from intentloop_cli.app import app
from intentloop_schemas import DeadLetter, DeadLetterReason
from support import tables
from support.processes import StartWorker
from support.topic_reader import read_topic
from support.traffic import VALID, produce
from support.traffic import Message as Sent

PHONE = "+919876543210"
Dlq = Callable[..., Result]


@pytest.fixture
def dlq(kafka: Any, conversations: str, tmp_path: Path) -> Dlq:
    """Run `intentloop dlq` on the test's topic."""
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "INTENTLOOP_TOPIC": conversations,
        "FALLBACK_DIR": str(tmp_path / "fallback"),
    }

    def run(*arguments: str, **more: str) -> Result:
        return CliRunner(env={**environment, **more}).invoke(app, ["dlq", *arguments])

    return run


def letter(topic: str, offset: int = 0, **changes: object) -> DeadLetter:
    given = {
        "reason": DeadLetterReason.INVALID_EVENT,
        "error": f"phoneNumber: {PHONE} is wrong",
        "topic": topic,
        "partition": 1,
        "offset": offset,
        "timestamp": 1_760_000_000_000 + offset,
        "key": PHONE.encode(),
        "value": json.dumps({"phoneNumber": PHONE, "offset": offset}).encode(),
    }
    return DeadLetter.model_validate({**given, **changes})


def write_letters(kafka: Any, letters: list[DeadLetter]) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    for each in letters:
        producer.produce(
            f"{each.topic}.dlq", key=each.key, value=each.value, headers=each.headers()
        )
    assert producer.flush(30) == 0


def sent_again(kafka: Any, topic: str) -> list[Message]:
    return read_topic(kafka.bootstrap_servers, topic)


def original(message: Message) -> tuple[int, bytes | None, bytes | None, int]:
    return message.partition(), message.key(), message.value(), message.timestamp()[1]


def test_what_a_worker_rejects_is_listed_shown_exported_and_retried(
    kafka: Any,
    conversations: str,
    database_url: str,
    start_worker: StartWorker,
    eventually: Any,
    dlq: Dlq,
    tmp_path: Path,
) -> None:
    now = int(time.time() * 1000) - 60_000
    event = {"phoneNumber": PHONE, "messageText": "hi", "intent": "greet", "timestamp": now}
    poison = [
        json.dumps({**event, "confidence": 1.5}).encode(),
        b"{" + PHONE.encode(),
        b"\xff\xfe",
        None,
    ]
    worker = start_worker(BATCH_SIZE="1")
    messages = [Sent(PHONE.encode(), value, now + n, b"") for n, value in enumerate(poison)]
    produce(kafka.bootstrap_servers, conversations, iter(messages))
    eventually(lambda: tables.accounted(database_url) == 4, 60, "all are rejected")
    assert worker.stop() == 0
    rejected = sent_again(kafka, conversations)

    listed = dlq("list")
    assert listed.exit_code == 0
    assert "Dead letters: 4 (invalid_json 2" in listed.stdout
    assert "+91******3210" in listed.stdout
    shown = dlq("show", str(rejected[0].partition()), str(rejected[0].offset()))
    assert '"confidence": 1.5' in shown.stdout
    assert "dlq.error      " in shown.stdout
    assert PHONE not in listed.output + shown.output
    assert PHONE in dlq("show", str(rejected[0].partition()), "0", "--reveal").stdout

    file = tmp_path / "letters.jsonl"
    assert dlq("export", str(file)).exit_code == 0
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    values = [
        b64decode(line["valueBase64"])
        if "valueBase64" in line
        else line["value"] and line["value"].encode()
        for line in lines
    ]
    assert values == poison
    assert [line["timestamp"] for line in lines] == [now + n for n in range(4)]
    assert file.stat().st_mode & 0o077 == 0

    assert "4 would be sent again" in dlq("retry", "--dry-run").stdout
    assert len(sent_again(kafka, conversations)) == 4
    assert "4 sent again" in dlq("retry").stdout
    again = sent_again(kafka, conversations)[4:]
    assert list(map(original, again)) == list(map(original, rejected))
    second = dlq("retry")
    assert second.exit_code == 0
    assert "0 sent again.\n4 retried before." in second.stdout
    assert len(sent_again(kafka, conversations)) == 8

    start_worker(BATCH_SIZE="1")
    eventually(lambda: tables.accounted(database_url) == 8, 60, "they are rejected again")
    assert "Dead letters: 8 " in dlq("list").stdout
    assert "4 would be sent again" in dlq("retry", "--dry-run").stdout


def test_when_the_cause_is_mended_a_retry_stores_the_event(
    kafka: Any,
    conversations: str,
    database_url: str,
    start_worker: StartWorker,
    eventually: Any,
    dlq: Dlq,
) -> None:
    now = int(time.time() * 1000)
    event = {
        "phoneNumber": PHONE,
        "messageText": "where is my order",
        "intent": "track_order",
        "confidence": 0.9,
        "timestamp": now,
    }
    start_worker(BATCH_SIZE="1")
    constraint = 'ALTER TABLE "Example" ADD CONSTRAINT broken CHECK (intent <> %s) NOT VALID'
    tables.query(database_url, constraint, "track_order")
    message = Sent(PHONE.encode(), json.dumps(event).encode(), now, VALID)
    produce(kafka.bootstrap_servers, conversations, iter([message]))
    eventually(lambda: "refused_by_database 1" in dlq("list").stdout, 60, "it is refused")

    tables.query(database_url, 'ALTER TABLE "Example" DROP CONSTRAINT broken')
    assert dlq("retry", "--reason", "refused_by_database").exit_code == 0

    stored = 'SELECT input FROM "Example"'
    eventually(lambda: tables.query(database_url, stored) == [("where is my order",)], 30)
    eventually(lambda: tables.accounted(database_url) == 2)


def test_a_letter_that_came_twice_counts_and_is_retried_once(
    kafka: Any, conversations: str, dlq: Dlq
) -> None:
    first, other = letter(conversations, 0), letter(conversations, 1)
    write_letters(kafka, [first, other, first])

    assert "Dead letters: 2 " in dlq("list").stdout
    assert "2 sent again" in dlq("retry").stdout
    write_letters(kafka, [other])
    assert "0 sent again" in dlq("retry").stdout
    assert [original(m) for m in sent_again(kafka, conversations)] == [
        (1, each.key, each.value, each.timestamp) for each in (first, other)
    ]


def test_a_recreated_topic_s_letter_at_the_same_place_is_another(
    kafka: Any, conversations: str, dlq: Dlq
) -> None:
    write_letters(kafka, [letter(conversations)])
    assert "1 sent again" in dlq("retry").stdout

    write_letters(kafka, [letter(conversations, timestamp=1_770_000_000_000, value=b"other")])

    assert "1 sent again" in dlq("retry").stdout
    assert sent_again(kafka, conversations)[-1].value() == b"other"


def test_a_retry_takes_the_letters_asked_for_and_later_the_others(
    kafka: Any, conversations: str, dlq: Dlq
) -> None:
    refused = DeadLetterReason.REFUSED_BY_DATABASE
    write_letters(
        kafka,
        [
            letter(conversations, 0),
            letter(conversations, 1, reason=refused),
            letter(conversations, 2, partition=0),
            letter(conversations, 1, partition=0),
        ],
    )

    def offsets() -> list[tuple[int, int]]:
        messages = sent_again(kafka, conversations)
        return sorted((m.partition(), m.timestamp()[1] % 1_000) for m in messages)

    dlq("retry", "--reason", "refused_by_database")
    assert offsets() == [(1, 1)]
    dlq("retry", "--partition", "0", "--offset", "2")
    assert offsets() == [(0, 2), (1, 1)]
    dlq("retry", "--since", "1h", "--partition", "1")
    assert offsets() == [(0, 2), (1, 0), (1, 1)]
    assert "3 retried before" in dlq("retry").stdout
    assert offsets() == [(0, 1), (0, 2), (1, 0), (1, 1)]
    assert "yes" in dlq("list", "--limit", "1").stdout


def test_what_kafka_does_not_take_back_is_told_and_stays_to_be_retried(
    kafka: Any, conversations: str, dlq: Dlq
) -> None:
    write_letters(kafka, [letter(conversations, 0, partition=77), letter(conversations, 1)])

    result = dlq("retry")

    assert result.exit_code == 1
    assert "1 sent again" in result.stdout
    assert "Partition 77, offset 0" in result.stderr
    assert "1 would be sent again" in dlq("retry", "--dry-run").stdout


def test_list_chooses_by_reason_time_number_and_order(
    kafka: Any, conversations: str, dlq: Dlq
) -> None:
    write_letters(kafka, [letter(conversations, n) for n in range(5)])
    write_letters(kafka, [letter(conversations, 5, reason=DeadLetterReason.INVALID_JSON)])

    def offsets(*options: str) -> list[str]:
        lines = dlq("list", *options).stdout.split("\n\n")[0].splitlines()[1:]
        return [line.split()[3] for line in lines]

    assert offsets("--limit", "2") == ["5", "4"]
    assert offsets("--limit", "2", "--oldest-first") == ["0", "1"]
    assert offsets("--reason", "invalid_json") == ["5"]
    assert offsets("--since", "1h") == ["5", "4", "3", "2", "1", "0"]
    assert "no such dead letters" in dlq("list", "--since", "2099-01-01").stdout


def test_a_record_that_is_no_letter_is_told_and_passed_over(
    kafka: Any, conversations: str, dlq: Dlq
) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    producer.produce(f"{conversations}.dlq", value=b"stray")
    assert producer.flush(30) == 0
    write_letters(kafka, [letter(conversations)])

    result = dlq("list")

    assert "Dead letters: 1 " in result.stdout
    assert "is no dead letter" in result.stderr


def test_wrong_options_and_absent_things_have_their_statuses(
    conversations: str, dlq: Dlq, tmp_path: Path
) -> None:
    assert dlq("list").exit_code == 0
    assert dlq("list", "--reason", "bad_weather").exit_code == 2
    assert dlq("list", "--since", "yesterday").exit_code == 2
    assert dlq("retry", "--offset", "3").exit_code == 2
    assert dlq("list", KAFKA_BOOTSTRAP_SERVERS="").exit_code == 2
    assert dlq("show", "0", "3").exit_code == 1
    missing = dlq("list", INTENTLOOP_TOPIC=f"no-{conversations}")
    assert missing.exit_code == 1
    assert "intentloop topics create" in missing.stderr
    assert dlq("export", str(tmp_path / "absent" / "file")).exit_code == 1
    (tmp_path / "file").touch()
    assert "exists already" in dlq("export", str(tmp_path / "file")).stderr


def test_a_broker_that_is_away_is_one_line_not_a_traceback(dlq: Dlq) -> None:
    result = dlq("list", KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")

    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
