"""Names of the Kafka topics."""

CONVERSATIONS_TOPIC = "intentloop.conversations.v1"
DEFAULT_GROUP = "intentloop"


def dead_letter_topic(topic: str) -> str:
    """Return the name of the dead-letter topic that belongs to `topic`."""
    return f"{topic}.dlq"
