"""WhatsApp Cloud API. Run: uvicorn --app-dir examples whatsapp_cloud:app"""

import hmac
import os

from fastapi import FastAPI, HTTPException, Request
from nlu import classify

from intentloop_producer import ConversationLogger

app, conversations = FastAPI(), ConversationLogger()


@app.post("/webhook")
async def receive(request: Request) -> None:
    digest = hmac.digest(os.environb[b"WHATSAPP_APP_SECRET"], await request.body(), "sha256").hex()
    if not hmac.compare_digest("sha256=" + digest, request.headers.get("X-Hub-Signature-256", "")):
        raise HTTPException(401)
    changes = [change for entry in (await request.json())["entry"] for change in entry["changes"]]
    for message in (m for change in changes for m in change["value"].get("messages", [])):
        if message["type"] == "text":
            conversations.log(
                phone_number="+" + message["from"],
                message_text=message["text"]["body"],
                timestamp=int(message["timestamp"]) * 1000,
                message_id=message["id"],
                **classify(message["text"]["body"]),
            )
