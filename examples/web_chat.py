"""A web shop's chat window. Run: uvicorn --app-dir examples web_chat:app"""

from fastapi import FastAPI
from nlu import classify
from pydantic import AwareDatetime, BaseModel

from intentloop_producer import ConversationLogger

app, conversations = FastAPI(), ConversationLogger()


class Message(BaseModel):
    session: str
    id: str  # made by the browser, which sends a message again when it gets no answer
    text: str
    sent_at: AwareDatetime


@app.post("/chat")
async def receive(message: Message) -> dict[str, str]:
    conversations.log(
        phone_number=message.session,
        message_text=message.text,
        channel="web",
        timestamp=message.sent_at,
        message_id=message.id,
        **(guess := classify(message.text)),
    )
    return {"reply": f"{guess['intent']}, right?"}
