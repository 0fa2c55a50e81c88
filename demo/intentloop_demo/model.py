"""Whom the bot asks what a message means: the served model, or the one that it was started with."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from intentloop_demo.nlu import MAX_ALTERNATIVES, IntentClassifier
from intentloop_training.prediction import Prediction
from intentloop_training.serving.script import NluUnavailableError, ask

TIMEOUT_SECONDS = 0.5
"""A customer is waiting."""
PAUSE_SECONDS = 2.0
"""So long a server that did not answer is left alone."""

_log = logging.getLogger("intentloop.conversation.nlu")


class Reading(NamedTuple):
    """What a message means, and the version of the model that says so."""

    prediction: Prediction
    model_version: str


class Nlu(Protocol):
    """Reads messages."""

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """Return what each text means. Always answers."""
        ...


class StartModel:
    """The model that a bot is started with; `version` names it."""

    def __init__(self, classifier: IntentClassifier, version: str) -> None:
        self._classifier = classifier
        self.version = version

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """Return what each text means."""
        predictions = self._classifier.classify(texts)
        return [Reading(prediction, self.version) for prediction in predictions]


class ServedModel:
    """Asks a server that speaks Rasa's HTTP API, and `start` whenever that has no answer.

    Args:
        url: where the server is.
        start: answers while the server is away, slow, or has no model yet.
        clock: monotonic time in seconds.
    """

    def __init__(
        self, url: str, start: StartModel, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = url
        self._start = start
        self._clock = clock
        self._away_until = clock()
        self._answers = False

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """Return what each text means. Blocks for a request each, and for one timeout at most."""
        readings: list[Reading] = []
        for number, text in enumerate(texts):
            if (reading := self._ask(text)) is None:
                return readings + self._start.read(texts[number:])
            readings.append(reading)
        return readings

    def _ask(self, text: str) -> Reading | None:
        if self._clock() < self._away_until:
            return None
        try:
            answer = ask(self._url, text, TIMEOUT_SECONDS)
        except NluUnavailableError as error:
            self._note(answers=False, why=str(error))
            self._away_until = self._clock() + PAUSE_SECONDS
            return None
        self._note(answers=True, why=f"{self._url} answers")
        guesses = answer.alternatives[:MAX_ALTERNATIVES]
        prediction = Prediction(answer.intent, answer.confidence, guesses)
        return Reading(prediction, answer.model_version or self._url)

    def _note(self, *, answers: bool, why: str) -> None:
        """Say it once when somebody else answers from now on."""
        if answers != self._answers:
            who = "the served model" if answers else self._start.version
            _log.info("From now on %s answers: %s", who, why)
        self._answers = answers
