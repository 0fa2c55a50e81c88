"""The demo's bot: it answers what it understood and logs what it was asked."""

from random import Random

import pytest

from intentloop_demo.bot import Bot
from intentloop_demo.model import Reading
from intentloop_demo.traffic import Customers
from intentloop_demo.utterances import load_utterances
from intentloop_training.prediction import Guess, Prediction


class Nlu:
    """Says what it was told to."""

    def __init__(self, *predictions):
        self.readings = [Reading(prediction, "v7") for prediction in predictions]

    def read(self, texts):
        return self.readings[: len(texts)]


class Logger:
    def __init__(self):
        self.logged = []

    def log(self, **fields):
        self.logged.append(fields)
        return True


@pytest.fixture
def messages():
    return Customers(load_utterances(), Random(1)).converse(1_700_000_000_000)[:1]


SURE = Prediction("track_order", 0.93, (Guess("delivery_time", 0.04),))


def test_logs_every_field_of_the_message(messages):
    logger = Logger()
    [message] = messages

    Bot(Nlu(SURE), logger).receive(messages)

    assert logger.logged == [
        {
            "phone_number": message.sender,
            "message_text": message.text,
            "intent": "track_order",
            "confidence": 0.93,
            "current_step": message.step,
            "timestamp": message.timestamp,
            "channel": message.channel,
            "language": message.language,
            "model_version": "v7",
            "session_id": message.session_id,
            "message_id": message.message_id,
            "alternatives": [{"intent": "delivery_time", "confidence": 0.04}],
        }
    ]


def test_a_message_that_comes_twice_is_understood_as_the_first_time(messages):
    other = Prediction("help", 0.5, ())
    nlu = Nlu(SURE)
    bot = Bot(nlu, Logger())
    [first] = bot.receive(messages)
    nlu.readings = [Reading(other, "v8")]

    assert bot.receive(messages) == [first]
    assert bot.versions == {"v7"}


def test_answers_what_it_understood(messages):
    [answer] = Bot(Nlu(SURE), Logger()).receive(messages)

    assert answer.prediction == SURE
    assert "on its way" in answer.reply


@pytest.mark.parametrize(
    "prediction", [Prediction("track_order", 0.2, ()), Prediction("out_of_scope", 0.99, ())]
)
def test_asks_again_when_it_did_not(messages, prediction):
    [answer] = Bot(Nlu(prediction), Logger()).receive(messages)

    assert "other words" in answer.reply
