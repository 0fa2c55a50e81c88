"""RCS for Business. Run: uvicorn --app-dir examples rcs_business:app"""

import hmac
import json
import os
from base64 import b64decode, b64encode
from datetime import datetime

from fastapi import FastAPI, HTTPException, Request
from nlu import classify

from intentloop_producer import ConversationLogger

app, conversations = FastAPI(), ConversationLogger()


@app.post("/webhook")
async def receive(request: Request) -> None:
    data = b64decode((await request.json())["message"]["data"])
    signature = b64encode(hmac.digest(os.environb[b"RBM_CLIENT_TOKEN"], data, "sha512")).decode()
    if not hmac.compare_digest(signature, request.headers.get("X-Goog-Signature", "")):
        raise HTTPException(401)
    if text := (message := json.loads(data)).get("text"):
        sender, sent_at = message["senderPhoneNumber"], datetime.fromisoformat(message["sendTime"])
        conversations.log(
            phone_number=sender, message_text=text, channel="rcs", timestamp=sent_at,
            message_id=message["messageId"], **classify(text),
        )  # fmt: skip
