"""A Telegram bot. Run: uvicorn --app-dir examples telegram_bot:app"""

import os
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from nlu import classify

from intentloop_producer import ConversationLogger

app, conversations = FastAPI(), ConversationLogger()


@app.post("/webhook")
async def receive(update: dict[str, Any], request: Request) -> dict[str, Any]:
    if request.headers.get("X-Telegram-Bot-Api-Secret-Token") != os.environ["TELEGRAM_SECRET"]:
        raise HTTPException(401)
    if not (text := (message := update.get("message", {})).get("text")):
        return {}
    guess, chat = classify(text), message["chat"]["id"]
    conversations.log(
        phone_number=str(message["from"]["id"]),
        message_text=text,
        channel="telegram",
        timestamp=message["date"] * 1000,
        message_id=f"{chat}/{message['message_id']}",  # unique within a chat only
        **guess,
    )
    return {"method": "sendMessage", "chat_id": chat, "text": f"{guess['intent']}, right?"}
