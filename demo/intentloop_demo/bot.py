"""The chatbot: understands a message, answers it, and logs it with one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from intentloop_demo.model import Nlu, Reading
from intentloop_demo.traffic import Message
from intentloop_producer import ConversationLogger
from intentloop_schemas.review import is_fallback
from intentloop_training.prediction import Prediction

UNSURE_BELOW = 0.4
REMEMBERED = 1_000
"""Messages; platforms deliver again within seconds."""
_UNSURE = "Sorry, I did not understand. Could you say it in other words?"
_DEFAULT = "I have passed this on to our team, they will write to you here."
_REPLIES = {
    "affirm": "Done.",
    "cancel_order": "Which order shall I cancel?",
    "delivery_time": "Your order arrives today before 19:00.",
    "deny": "All right, nothing has been changed.",
    "goodbye": "Bye, have a nice day!",
    "greeting": "Hello! What can I do for you?",
    "help": "I can track orders, take food orders, book pickups and answer questions.",
    "order_food": "Added to your basket. Anything else?",
    "refund_status": "Your refund reaches your bank in 3 to 5 days.",
    "talk_to_agent": "I am connecting you to a colleague.",
    "thanks": "You are welcome!",
    "track_order": "Your order has left our warehouse and is on its way.",
}


class Answer(NamedTuple):
    """What the bot understood, and what it writes back."""

    prediction: Prediction
    reply: str


class Bot:
    """A bot with one NLU for all channels; `versions` are the models that have answered so far."""

    def __init__(self, nlu: Nlu, logger: ConversationLogger) -> None:
        self._nlu = nlu
        self._logger = logger
        self._read: dict[str, Reading] = {}
        self.versions: set[str] = set()

    def receive(self, messages: Sequence[Message]) -> list[Answer]:
        """Answer messages in the order in which they came. Never waits for the logger.

        A message that comes twice is understood as it was the first time, whatever model answers
        by then.
        """
        self._understand(messages)
        readings = [self._read[message.message_id] for message in messages]
        for message, reading in zip(messages, readings, strict=True):
            self._log(message, reading)
        return [Answer(reading.prediction, _reply(reading.prediction)) for reading in readings]

    def _understand(self, messages: Sequence[Message]) -> None:
        for known in list(self._read)[:-REMEMBERED]:
            del self._read[known]
        new = {m.message_id: m.text for m in messages if m.message_id not in self._read}
        self._read.update(zip(new, self._nlu.read(list(new.values())), strict=True))

    def _log(self, message: Message, reading: Reading) -> None:
        prediction, version = reading
        self.versions.add(version)
        self._logger.log(
            phone_number=message.sender,
            message_text=message.text,
            intent=prediction.intent,
            confidence=prediction.confidence,
            current_step=message.step,
            timestamp=message.timestamp,
            channel=message.channel,
            language=message.language,
            model_version=version,
            session_id=message.session_id,
            message_id=message.message_id,
            alternatives=[guess._asdict() for guess in prediction.alternatives],
        )


def _reply(prediction: Prediction) -> str:
    if is_fallback(prediction.intent) or prediction.confidence < UNSURE_BELOW:
        return _UNSURE
    return _REPLIES.get(prediction.intent, _DEFAULT)
