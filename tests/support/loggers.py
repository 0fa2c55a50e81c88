"""A logger as a bot calls it, and the threads that it delivers with."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from intentloop_producer import ConversationLogger

Make = Callable[..., ConversationLogger]
MESSAGE: dict[str, Any] = {
    "phone_number": "+919876543210",
    "message_text": "where is my order?",
    "intent": "track_order",
    "confidence": 0.95,
}


def log(logger: ConversationLogger, **changes: Any) -> bool:
    return logger.log(**{**MESSAGE, **changes})


def delivery_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "conversation-logger" and t.is_alive()]
