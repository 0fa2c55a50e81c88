"""The logger that a chatbot calls."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from intentloop_producer.counts import Counts
from intentloop_producer.intake import Intake, Utterance
from intentloop_producer.process import call_at_exit, restart_after_fork

if TYPE_CHECKING:
    from intentloop_producer.delivery import Delivery
    from intentloop_producer.settings import BackendSettings, LoggerSettings
    from intentloop_producer.transport import Route
    from intentloop_schemas import Alternative
    from intentloop_schemas.kafka import KafkaSettings
    from intentloop_schemas.pii_settings import PiiSettings

EXIT_SECONDS = 5.0
"""How long the end of the process may be held up for the last conversations."""

_log = logging.getLogger("intentloop.conversation")


class ConversationLogger:
    """Keeps what customers write and what the NLU made of it, at no risk to the bot.

    One logger serves all threads, asyncio tasks and forked children of a process. Making one and
    logging never raise: what is wrong with the settings is said once in the log, and what cannot
    be kept is counted. One daemon thread does the work. It starts with the first `log()`, and
    nothing is opened before; or at once if a bot that was killed has left a journal. At the end of
    the process it has five seconds for what is left; the rest stays in the journal.

    Events go to Kafka, or over HTTP to the admin backend when only that is set. What is not given
    is read from the environment; a given `kafka` or `backend` alone decides the way. `pii` says
    how much of the senders is kept. `route` replaces the way itself.
    """

    def __init__(
        self,
        settings: LoggerSettings | None = None,
        *,
        kafka: KafkaSettings | None = None,
        backend: BackendSettings | None = None,
        pii: PiiSettings | None = None,
        route: Route | None = None,
    ) -> None:
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._delivery: Delivery | None = None
        self._intake = Intake(bound=0)
        self._is_enabled = True
        self._has_warned = False
        try:
            self._prepare(settings, kafka, backend, pii, route)
        except Exception as error:  # noqa: BLE001 - wrong settings must not stop a bot
            self._intake.close(timeout=0)
            self._warn_once(f"Conversations are counted, not logged: {error}")
        restart_after_fork(self)

    def log(  # noqa: PLR0913 - the fields of an event
        self,
        *,
        phone_number: str,
        message_text: str,
        intent: str,
        confidence: float,
        current_step: str | None = None,
        timestamp: int | datetime | None = None,
        channel: str | None = None,
        language: str | None = None,
        model_version: str | None = None,
        session_id: str | None = None,
        message_id: str | None = None,
        alternatives: Sequence[Alternative | Mapping[str, Any]] | None = None,
        dataset_id: str | None = None,
        event_id: str | None = None,
    ) -> bool:
        """Log one customer message. Never raises, waits or blocks.

        Chat platforms deliver a webhook again when they doubt that it arrived. Pass the
        platform's `message_id` and its `timestamp` of the message, the same each time, and the
        message is kept once.

        Args:
            phone_number: The sender; E.164 on WhatsApp and RCS, else a user or session id.
            message_text: What the customer wrote.
            intent: The NLU's label.
            confidence: The NLU's confidence, from 0 to 1.
            current_step: Where in the dialogue the customer is.
            timestamp: When it was written, as epoch milliseconds or an aware datetime; now
                when not given.
            channel: `whatsapp` when not given, else telegram, web, rcs or another lower-case word.
            language: Language of the text.
            model_version: Version of the NLU's model.
            session_id: The conversation that the message belongs to.
            message_id: The platform's id of the message.
            alternatives: The NLU's other guesses, each with `intent` and `confidence`. Leave them
                unchanged afterwards: they are read later.
            dataset_id: Dataset that the message goes to; `ds-auto-training` when not given.
            event_id: Id of the event, when the bot has one of its own.

        Returns:
            Whether the message was taken. False when logging is disabled or not configured, or
            when the queue or the journal is full; all but the first are counted as dropped.
        """
        if not self._is_enabled:
            return False
        started = time.perf_counter_ns()
        utterance = Utterance(
            phone_number,
            message_text,
            intent,
            confidence,
            current_step,
            timestamp,
            channel,
            language,
            model_version,
            session_id,
            message_id,
            alternatives,
            dataset_id,
            event_id,
            time.time_ns() // 1_000_000,
        )
        if self._intake.offer(utterance):
            if self._thread is None:
                self._start()
            self._intake.costs.append(time.perf_counter_ns() - started)
            return True
        if not self._intake.is_open:
            self._warn_once("Conversations are no longer logged: the logger is closed.")
        return False

    @property
    def counts(self) -> Counts:
        """What became of the conversations so far, in this process."""
        return self._intake.tally.snapshot()

    def flush(self, timeout: float = EXIT_SECONDS) -> int:
        """Wait up to `timeout` seconds until everything logged before is settled. Blocks.

        Returns how many conversations are not settled yet.
        """
        timeout = min(timeout, _LONGEST_SECONDS)
        if self._thread is not None and self._thread.is_alive():
            self._intake.request_flush(timeout).done.wait(timeout)
        return self.counts.queued

    def close(self, timeout: float = EXIT_SECONDS) -> None:
        """Stop logging, and wait up to `timeout` seconds for the delivery of the rest. Blocks.

        What could not be delivered stays in the journal until the bot starts again; what is in
        memory only is counted as failed. Closing again does nothing.
        """
        timeout = min(timeout, _LONGEST_SECONDS)
        self._intake.close(timeout)
        if self._thread is None:
            self._intake.abandon()
        else:
            self._thread.join(timeout + _GRACE_SECONDS)

    def restart(self) -> None:
        """Start afresh in a forked child: an empty queue, and a thread of its own when needed."""
        was_open = self._intake.is_open
        self._lock = threading.RLock()
        self._thread = None
        self._intake = Intake(self._intake.bound)
        if not was_open:
            self._intake.close(timeout=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _prepare(
        self,
        settings: LoggerSettings | None,
        kafka: KafkaSettings | None,
        backend: BackendSettings | None,
        pii: PiiSettings | None,
        route: Route | None,
    ) -> None:
        # Here rather than with the first message: these imports take a third of a second.
        from intentloop_producer.delivery import prepare

        self._delivery = prepare(settings, kafka, backend, pii, route)
        if self._delivery is None:
            self._is_enabled = False
        else:
            self._intake = Intake(self._delivery.settings.queue_size)
            if self._delivery.is_overdue:
                self._start()

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None or self._delivery is None:
                return
            # The thread knows nothing of the logger, and the logger nothing of the thread's
            # connection: a forked child, which lacks the thread, then never closes what is not
            # its own, which would hang.
            self._thread = threading.Thread(
                target=self._delivery.run,
                args=(self._intake,),
                name="conversation-logger",
                daemon=True,
            )
            try:
                self._thread.start()
            except RuntimeError as error:
                self._thread = None
                self._warn_once(f"Conversations wait in memory: {error}")
            else:
                call_at_exit(self.close)

    def _warn_once(self, text: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            with suppress(Exception):
                _log.warning(text)


_GRACE_SECONDS = 0.5
_LONGEST_SECONDS = 86_400.0
