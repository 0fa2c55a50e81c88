"""The watchdog: ends a worker in which nothing moves any more, so that another may go on."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping

import structlog
from confluent_kafka import KafkaException

from intentloop_schemas import TopicPartition
from intentloop_stream.backpressure import Backpressure
from intentloop_stream.ending import FAILURE
from intentloop_stream.stall import Stall, StallDetector, Standing

_LOOKS = 10
"""Looks within the patience."""
_LONGEST_PAUSE_SECONDS = 5.0

log = structlog.get_logger(__name__)

Look = Callable[[], Mapping[TopicPartition, Standing]]
Ends = Callable[[list[TopicPartition]], Mapping[TopicPartition, int]]


class Watchdog:
    """Looks again and again, in a thread of its own: a blocked event loop does not stop it.

    Args:
        patience: seconds without progress after which it ends the process.
        look: where the assigned partitions stand; called from the thread.
        ends: asks Kafka, over a connection of its own, where their logs end. When Kafka does not
            answer that is what the worker waits for.
        backpressure: what else it waits for.
    """

    def __init__(self, patience: float, look: Look, ends: Ends, backpressure: Backpressure) -> None:
        self._pause = min(patience / _LOOKS, _LONGEST_PAUSE_SECONDS)
        self._detector = StallDetector(patience, longest_step=2 * self._pause)
        self._look = look
        self._ends = ends
        self._backpressure = backpressure
        self._is_over = threading.Event()

    def start(self) -> None:
        """Start looking."""
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._is_over.set()

    def _run(self) -> None:
        while not self._is_over.wait(self._pause):
            ends, excuse = self._known_ends()
            excuse = excuse or self._backpressure.reason
            stall = self._detector.observe(time.monotonic(), self._look(), ends, excuse)
            if stall and not self._is_over.is_set():
                _end(stall)

    def _known_ends(self) -> tuple[Mapping[TopicPartition, int], str | None]:
        try:
            return self._ends(list(self._look())), None
        except KafkaException as error:
            return {}, f"Kafka does not say where the log ends: {error.args[0].str()}"


def _end(stall: Stall) -> None:
    """End the process at once: whatever hangs may hang an orderly end too."""
    log.critical(
        "stalled",
        reason=str(stall),
        advice="The worker ends, so that its supervisor starts another; nothing is lost. If it "
        "happens again, look into the log for what came before, and raise INTENTLOOP_STALL_SECONDS "
        "if the database needs longer for one transaction",
    )
    logging.shutdown()
    os._exit(FAILURE)
