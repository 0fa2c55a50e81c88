"""Names of the Kafka topics."""

CONVERSATIONS_TOPIC = "intentloop.conversations.v1"
LOGGERS_TOPIC = "intentloop.loggers.v1"
"""Where loggers report on themselves."""
DEFAULT_GROUP = "intentloop"


def dead_letter_topic(topic: str) -> str:
    """Return the name of the dead-letter topic that belongs to `topic`."""
    return f"{topic}.dlq"
