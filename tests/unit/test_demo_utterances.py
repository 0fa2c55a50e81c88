"""The demo's utterances: enough of them, in three languages, none twice."""

from collections import Counter

import pytest

from intentloop_demo.nlu import normalise
from intentloop_demo.utterances import load_utterances, split

UTTERANCES = load_utterances()


def test_enough_intents_and_utterances():
    per_intent = Counter(utterance.intent for utterance in UTTERANCES)

    assert len(per_intent) >= 28
    assert len(UTTERANCES) >= 750
    assert min(per_intent.values()) >= 25


def test_english_with_hindi_and_hinglish():
    languages = Counter(utterance.language for utterance in UTTERANCES)
    share = {language: count / len(UTTERANCES) for language, count in languages.items()}

    assert share == {
        "en": pytest.approx(0.65, abs=0.03),
        "hi": pytest.approx(0.12, abs=0.03),
        "hi-Latn": pytest.approx(0.23, abs=0.03),
    }


def test_hindi_and_only_hindi_is_written_in_devanagari():
    for utterance in UTTERANCES:
        in_devanagari = any("\u0900" <= letter <= "\u097f" for letter in utterance.text)
        assert in_devanagari == (utterance.language == "hi"), utterance


def test_no_utterance_twice():
    texts = Counter(" ".join(normalise(utterance.text).split()) for utterance in UTTERANCES)

    assert [text for text, count in texts.items() if count > 1] == []


def test_what_was_promised_is_there():
    texts = {utterance.text.casefold() for utterance in UTTERANCES}
    everything = "\n".join(texts)

    assert {"track my order", "where is my delivery?", "i need help", "where is my order"} <= texts
    for spelling in ("paneer tikka", "paneer tika", "panir tikka"):
        assert spelling in everything


def test_texts_are_short_and_tidy():
    for utterance in UTTERANCES:
        assert 1 <= len(utterance.text) <= 200
        assert utterance.text == utterance.text.strip()
        assert all(utterance)


def test_split_holds_back_every_intent_in_every_language():
    taught, unseen = split(UTTERANCES)

    assert sorted(taught + unseen) == sorted(UTTERANCES)
    assert not set(taught) & set(unseen)
    assert len(unseen) == pytest.approx(0.2 * len(UTTERANCES), rel=0.1)
    assert {(u.intent, u.language) for u in unseen} == {(u.intent, u.language) for u in UTTERANCES}


def test_split_does_not_depend_on_the_order():
    taught, unseen = split(UTTERANCES)
    taught_again, unseen_again = split(reversed(UTTERANCES))

    assert set(taught) == set(taught_again)
    assert set(unseen) == set(unseen_again)
