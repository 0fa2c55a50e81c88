"""When requests leave, what they carry, what becomes of their events; the clock is set by hand."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from intentloop_producer.http import BULK_PATH, MOST_BYTES, REPORTS_PATH, HttpTransport
from intentloop_producer.http_answer import Answer
from intentloop_producer.http_client import Result
from intentloop_producer.retry import FIRST_SECONDS, LASTING_SECONDS, LONGEST_SECONDS, Retry
from intentloop_producer.transport import Failure

SENDER = b"+919876543210"


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Line:
    """A client that remembers what is posted, and answers when it is told to."""

    def __init__(self, clock: Clock) -> None:
        self.posted: list[tuple[str, bytes]] = []
        self.result: Result | None = None
        self._clock = clock

    def post(self, path: str, body: bytes) -> None:
        self.posted.append((path, body))

    def wait(self, seconds: float) -> Result | None:
        result, self.result = self.result, None
        if result is None:
            self._clock.now += max(0.0, seconds)
        return result


class Bot:
    """A transport, and what has become of the numbered events that it was given."""

    def __init__(self, batch_size: int = 10, batch_seconds: float = 30) -> None:
        self.clock = Clock()
        self.line = Line(self.clock)
        self.trouble: list[str] = []
        self.settled: dict[int, Failure | None] = {}
        self.transport = HttpTransport(
            self.line,  # type: ignore[arg-type]
            batch_size,
            batch_seconds,
            self.trouble.append,
            self.clock,
            lambda: 1.0,
        )

    def send(self, *numbers: int, size: int = 0) -> list[bool]:
        def end(number: int) -> Any:
            return lambda failure: self.settled.__setitem__(number, failure)

        filling = "x" * size
        return [
            self.transport.send(SENDER, json.dumps([number, filling]).encode(), end(number))
            for number in numbers
        ]

    def poll(self, seconds: float = 0) -> None:
        self.transport.poll(seconds)

    def requests(self) -> list[list[int]]:
        return [
            [number for number, _ in json.loads(body)["conversations"]]
            for path, body in self.line.posted
            if path == BULK_PATH
        ]

    def answer(self, status: int = 200, body: Any = None, **headers: str) -> None:
        count = len(self.requests()[-1])
        body = {"success": True, "count": count} if body is None else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.line.result = Answer(status, named, json.dumps(body))
        self.poll()

    def fail(self, why: str = "connection refused") -> None:
        self.line.result = why
        self.poll()

    def wait(self, seconds: float) -> None:
        """Poll as the delivery thread does, for so long."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.poll(0.02)


@pytest.fixture
def bot() -> Bot:
    return Bot()


# When, and what


def test_a_request_leaves_with_ten_events_and_not_before(bot: Bot) -> None:
    bot.send(*range(9))
    bot.poll()
    assert bot.requests() == []
    bot.send(9)
    bot.poll()
    assert bot.requests() == [[*range(10)]]


def test_a_request_leaves_30_seconds_after_its_first_event(bot: Bot) -> None:
    bot.send(0)
    bot.wait(20)
    bot.send(1)
    bot.wait(9.9)
    assert bot.requests() == []
    bot.wait(0.2)
    assert bot.requests() == [[0, 1]]


def test_one_request_at_a_time_and_then_whole_batches(bot: Bot) -> None:
    bot.send(*range(10))
    bot.poll()
    bot.send(*range(10, 37))
    bot.poll()
    assert len(bot.requests()) == 1
    bot.answer()
    bot.poll()
    assert bot.requests()[1:] == [[*range(10, 30)]]
    bot.answer()
    bot.wait(1)
    assert len(bot.requests()) == 2


def test_a_request_carries_a_thousand_events_at_most(bot: Bot) -> None:
    assert bot.send(*range(1_001)) == [True] * 1_000 + [False]
    bot.poll()
    assert bot.requests() == [[*range(1_000)]]
    assert all(bot.send(*range(1_000, 2_000)))


def test_a_request_stays_under_a_megabyte_whatever_its_events_hold(bot: Bot) -> None:
    bot.send(*range(100), size=20_000)
    bot.poll()
    [body] = [body for _, body in bot.line.posted]
    assert MOST_BYTES * 0.9 < len(body) < 1_000_000


def test_a_thousand_events_that_come_one_by_one_make_a_hundred_requests(bot: Bot) -> None:
    for number in range(1_000):
        bot.send(number)
        bot.poll()
        if number % 10 == 9:
            bot.answer()
    assert len(bot.requests()) == 100
    assert bot.settled == dict.fromkeys(range(1_000))


def test_a_batch_size_over_the_contract_s_is_the_contract_s() -> None:
    bot = Bot(batch_size=10_000)
    bot.send(*range(1_000))
    bot.poll()
    assert len(bot.requests()[0]) == 1_000


def test_flush_sends_what_there_is_at_once_and_waits_no_longer_than_told(bot: Bot) -> None:
    bot.send(*range(12))
    start = bot.clock.now
    bot.transport.flush(2.0)
    assert bot.requests() == [[*range(12)]]
    assert bot.clock.now - start == pytest.approx(2.0, abs=0.06)


# What becomes of them


def test_events_are_settled_when_the_backend_has_them(bot: Bot) -> None:
    bot.send(*range(10))
    bot.poll()
    assert bot.settled == {}
    bot.answer()
    assert bot.settled == dict.fromkeys(range(10))


def test_invalid_ones_fail_for_good_without_their_sender_and_cost_the_others_nothing(
    bot: Bot,
) -> None:
    bot.send(*range(10))
    bot.poll()
    errors = [{"index": 3, "error": f"phoneNumber: '{SENDER.decode()}' is wrong"}]
    bot.answer(207, {"success": False, "count": 9, "errors": errors})
    assert bot.settled == {
        **dict.fromkeys(range(10)),
        3: Failure("phoneNumber: '+91******3210' is wrong"),
    }
    assert bot.trouble == []


def test_what_was_not_taken_is_sent_again_first_and_in_order(bot: Bot) -> None:
    bot.send(*range(10))
    bot.poll()
    bot.fail()
    bot.send(*range(10, 20))
    bot.wait(1)
    assert bot.requests() == [[*range(10)], [*range(20)]]
    assert bot.trouble == ["connection refused"]
    assert bot.settled == {}
    bot.answer()
    assert bot.settled == dict.fromkeys(range(20))


def test_a_request_that_is_too_large_is_halved_until_it_is_taken(bot: Bot) -> None:
    bot.send(*range(40))
    bot.poll()
    bot.answer(413, {})
    bot.poll()
    assert bot.requests()[1:] == [[*range(20)]]
    bot.answer(413, {})
    bot.poll()
    assert bot.requests()[2:] == [[*range(10)]]
    bot.answer()
    bot.poll()
    assert bot.requests()[3:] == [[*range(10, 30)]]
    assert bot.trouble == []


@pytest.mark.parametrize("status", [413, 422])
def test_one_that_is_refused_alone_is_given_up_and_nothing_else(bot: Bot, status: int) -> None:
    poison = 6
    bot.send(*range(10))
    for _ in range(20):
        bot.transport.flush(0)
        if len(bot.settled) == 10:
            break
        has_it = poison in bot.requests()[-1]
        bot.answer(status, {"detail": "no"}) if has_it else bot.answer()
    failed = {number for number, failure in bot.settled.items() if failure}
    assert (set(bot.settled), failed) == ({*range(10)}, {poison})
    assert str(status) in bot.settled[poison].why  # type: ignore[union-attr]


# How often


def attempts(bot: Bot, seconds: float, why: Any) -> list[float]:
    """Return when requests leave while each of them fails."""
    start, times = bot.clock.now, []
    while bot.clock.now < start + seconds:
        before = len(bot.line.posted)
        bot.poll(0.02)
        if len(bot.line.posted) > before:
            times.append(bot.clock.now - start)
            why()
    return times


def test_attempts_become_seldom_but_never_end(bot: Bot) -> None:
    bot.send(*range(10))
    times = attempts(bot, 600, bot.fail)
    pauses = [later - earlier for earlier, later in pairwise(times)]
    doubling = [FIRST_SECONDS * 2**n for n in range(5)]
    assert pauses[:5] == pytest.approx(doubling, abs=0.1)
    assert pauses[5:] == pytest.approx([LONGEST_SECONDS] * len(pauses[5:]), abs=0.1)
    assert len(times) > 60


def test_a_wrong_key_is_tried_again_slowly(bot: Bot) -> None:
    bot.send(*range(10))
    times = attempts(bot, 100, lambda: bot.answer(401, {}))
    assert [round(time / LASTING_SECONDS) for time in times] == [0, 1, 2, 3]


def test_the_backend_is_left_alone_as_long_as_it_asks_even_in_a_hurry(bot: Bot) -> None:
    bot.send(*range(10))
    bot.poll()
    bot.answer(503, {}, retry_after="120")
    start = bot.clock.now
    bot.transport.flush(119)
    assert len(bot.requests()) == 1
    bot.wait(3)
    assert len(bot.requests()) == 2
    assert bot.clock.now - start < 123


def test_in_a_hurry_attempts_are_a_second_apart(bot: Bot) -> None:
    bot.send(*range(10))
    attempts(bot, 60, bot.fail)
    before = len(bot.requests())
    bot.transport.flush(1.1)
    assert len(bot.requests()) == before + 1


def test_after_a_success_pauses_begin_anew() -> None:
    clock = Clock()
    retry = Retry(clock, lambda: 1.0)
    for _ in range(2_000):
        retry.failed()
    retry.succeeded()
    retry.failed()
    clock.now += FIRST_SECONDS
    assert retry.is_due(hurry=False)


def test_bots_that_failed_together_do_not_come_back_together() -> None:
    def first_due(jitter: float) -> float:
        clock = Clock()
        retry = Retry(clock, lambda: jitter)
        retry.failed(retry_after=10)
        start = clock.now
        while not retry.is_due(hurry=False):
            clock.now += 0.01
        return clock.now - start

    assert first_due(0.0) == pytest.approx(10, abs=0.02)
    assert first_due(1.0) == pytest.approx(11, abs=0.02)


# Reports


def test_a_report_goes_before_events_once_and_what_becomes_of_it_costs_them_nothing(
    bot: Bot,
) -> None:
    ends: list[Failure | None] = []
    bot.transport.report(b"id", b"{}", ends.append)
    bot.send(*range(10))
    bot.poll()
    assert bot.line.posted == [(REPORTS_PATH, b"{}")]
    bot.line.result = Answer(404, {}, "")
    bot.poll()
    bot.poll()
    assert ends == [Failure("it answers 404 Not Found")]
    assert bot.trouble == []
    assert bot.requests() == [[*range(10)]]


def test_reports_wait_while_the_backend_is_away(bot: Bot) -> None:
    ends: list[Failure | None] = []
    bot.send(*range(10))
    bot.poll()
    bot.fail()
    bot.transport.report(b"id", b"{}", ends.append)
    bot.poll()
    assert len(bot.line.posted) == 1
    bot.wait(1)
    bot.line.result = Answer(202, {}, "")
    bot.poll()
    assert ends == [None]
