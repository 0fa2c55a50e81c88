"""What loggers over HTTP are given, and how long tests wait for it to arrive."""

from __future__ import annotations

from intentloop_producer import ConversationLogger

PATIENCE = 60


def log(logger: ConversationLogger, text: object, sender: str = "+919876543210") -> bool:
    return logger.log(
        phone_number=sender, message_text=str(text), intent="track_order", confidence=0.9
    )
