"""A stand-in for the bot's NLU: keywords instead of a model."""

from typing import TypedDict

KEYWORDS = {
    "track_order": {"where", "track", "order", "delivery", "parcel"},
    "cancel_order": {"cancel", "refund", "order"},
    "order_food": {"paneer", "panir", "tikka", "tika", "menu"},
    "help": {"help", "agent", "human"},
}


class Guess(TypedDict):
    intent: str
    confidence: float


def classify(text: str) -> Guess:
    """Return the likeliest intent and a confidence from 0 to 1."""
    words = {word.strip("?!.,") for word in text.lower().split()}
    hits = {intent: len(words & known) for intent, known in KEYWORDS.items()}
    intent = max(hits, key=hits.__getitem__)
    if not hits[intent]:
        return {"intent": "nlu_fallback", "confidence": 1.0}
    return {"intent": intent, "confidence": hits[intent] / (hits[intent] + 0.25)}
