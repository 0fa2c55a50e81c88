"""What tests of loggers write to their journals, and what lies in them."""

from __future__ import annotations

import json
from pathlib import Path

from intentloop_producer import ConversationLogger


def log(logger: ConversationLogger, text: object, sender: str = "+15550100") -> bool:
    return logger.log(phone_number=sender, message_text=str(text), intent="greet", confidence=0.9)


def on_disk(root: Path) -> list[str]:
    """Return the texts of the whole lines in all journals, in the order of their segments."""
    lines = [
        line
        for path in sorted(root.glob("*/*/*.jsonl"), key=lambda path: path.name)
        for line in path.read_bytes().rpartition(b"\n")[0].splitlines()
    ]
    return [json.loads(line)["event"]["messageText"] for line in lines]


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]
