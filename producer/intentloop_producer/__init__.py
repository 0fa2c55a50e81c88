"""What a chatbot installs: one call keeps each message and what the NLU made of it.

Importing this package loads neither pydantic nor the Kafka client; the first logger does.
"""

from typing import TYPE_CHECKING, Any

from intentloop_producer.counts import Counts
from intentloop_producer.logger import ConversationLogger

if TYPE_CHECKING:
    from intentloop_producer.settings import BackendSettings, LoggerSettings

__all__ = ["BackendSettings", "ConversationLogger", "Counts", "LoggerSettings"]


def __getattr__(name: str) -> Any:
    if name in ("BackendSettings", "LoggerSettings"):
        from intentloop_producer import settings

        return getattr(settings, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
