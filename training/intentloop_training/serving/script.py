"""The test script: messages as customers write them, through the NLU and into the log."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from intentloop_producer import ConversationLogger
from intentloop_training.prediction import Guess

MESSAGES = (
    "track my order",
    "where is my delivery?",
    "I need help",
    "cancel my order please",
    "when do you close today",
    "paneer tikka",
    "paneer tika",
    "panir tikka",
    "mera order kahan hai",
    "talk to a human",
)
"""Ten, so that they fill a batch."""
SENDER = "nlu-test"
_TIMEOUT_SECONDS = 10


class NluUnavailableError(Exception):
    """The NLU does not answer, or not as Rasa's API has it."""


class Answer(NamedTuple):
    """What the NLU made of a message; `confidence` from 0 to 1, other guesses best first."""

    text: str
    intent: str
    confidence: float
    model_version: str | None
    alternatives: tuple[Guess, ...] = ()


def run(url: str, logger: ConversationLogger, messages: Sequence[str]) -> Iterator[Answer]:
    """Ask the NLU at a URL what each message means, and log it. Blocks up to 10 s a message.

    Raises NluUnavailableError.
    """
    for text in messages:
        answer = ask(url, text)
        logger.log(
            phone_number=SENDER,
            message_text=text,
            intent=answer.intent,
            confidence=answer.confidence,
            channel="web",
            current_step="nlu_test",
            model_version=answer.model_version,
        )
        yield answer


def ask(url: str, text: str, timeout_seconds: float = _TIMEOUT_SECONDS) -> Answer:
    """Return what an NLU behind Rasa's HTTP API makes of a text. Raises NluUnavailableError."""
    address = f"{url.rstrip('/')}/model/parse"
    if not address.startswith(("http://", "https://")):
        raise NluUnavailableError(f"{url!r} is no address such as http://localhost:5005")
    request = urllib.request.Request(  # noqa: S310 - http or https, as checked above
        address, json.dumps({"text": text}).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout_seconds) as response:  # noqa: S310
            body = json.load(response)
        intent = body["intent"]
        others = [
            guess for guess in body.get("intent_ranking", ()) if guess["name"] != intent["name"]
        ]
        return Answer(
            text,
            intent["name"],
            intent["confidence"],
            body.get("model_version"),
            tuple(Guess(guess["name"], guess["confidence"]) for guess in others),
        )
    except urllib.error.HTTPError as error:
        reason = error.read().decode(errors="replace")
        raise NluUnavailableError(f"{address} answers {error.code}: {reason}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NluUnavailableError(f"no NLU answers at {address}: {error}") from error
