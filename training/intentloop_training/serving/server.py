"""Rasa's HTTP API over the current model: what a bot that speaks to Rasa needs to change is a URL.

Paths and bodies are those of Rasa 3's documented API; `model_version` is added to each answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, StringConstraints

from intentloop_training.prediction import Guess, Prediction
from intentloop_training.serving.current import CurrentModel

MAX_CHARACTERS = 4_096
VERSION = version("intentloop")


class Message(BaseModel):
    """A message to be understood; fields that Rasa knows besides are accepted and ignored."""

    text: Annotated[str, StringConstraints(max_length=MAX_CHARACTERS)]
    message_id: str | None = None


class NoCurrentModelError(Exception):
    """No model has been promoted yet."""


def create_app(current: CurrentModel) -> FastAPI:
    """Return the server's app; it follows promotions from its start to its end."""

    @asynccontextmanager
    async def following(_app: FastAPI) -> AsyncIterator[None]:
        current.start()
        yield
        current.stop()

    app = FastAPI(title="intentloop NLU", version=VERSION, lifespan=following)

    @app.get("/", response_class=PlainTextResponse)
    async def hello() -> str:
        return f"Hello from intentloop: {VERSION}"

    @app.get("/version")
    async def show_version() -> dict[str, str]:
        return {"version": VERSION, "minimum_compatible_version": VERSION}

    @app.get("/status")
    async def status() -> dict[str, Any]:
        model = current.model
        name = model.version if model else None
        return {
            "model_id": name,
            "model_file": name,
            "fingerprint": {"version": VERSION, "intents": list(model.intents) if model else []},
            "num_active_training_jobs": 0,
        }

    # Not async: it computes, and the other requests go on meanwhile.
    @app.post("/model/parse")
    def parse(message: Message) -> dict[str, Any]:
        model = current.model
        if model is None:
            raise NoCurrentModelError
        if not message.text.strip():
            return _answer(message, None, model.version)
        [prediction] = model.parse([message.text])
        return _answer(message, prediction, model.version)

    app.add_exception_handler(RequestValidationError, _bad_request)
    app.add_exception_handler(NoCurrentModelError, _conflict)
    return app


def _answer(message: Message, prediction: Prediction | None, model: str) -> dict[str, Any]:
    guesses = [] if prediction is None else [Guess(*prediction[:2]), *prediction.alternatives]
    ranking = [{"name": guess.intent, "confidence": guess.confidence} for guess in guesses]
    answer: dict[str, Any] = {
        "text": message.text,
        "intent": ranking[0] if ranking else {"name": None, "confidence": 0.0},
        "entities": [],
        "intent_ranking": ranking,
        "model_version": model,
    }
    return answer if message.message_id is None else {**answer, "message_id": message.message_id}


def _bad_request(_request: Request, error: Exception) -> JSONResponse:
    details = error.errors() if isinstance(error, RequestValidationError) else []
    message = "; ".join(
        f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in details
    )
    return _failure(400, "BadRequest", f'send JSON such as {{"text": "Hello"}}: {message}')


def _conflict(_request: Request, _error: Exception) -> JSONResponse:
    return _failure(
        409, "Conflict", "no model has been promoted yet: review messages and run a training job"
    )


def _failure(code: int, reason: str, message: str) -> JSONResponse:
    body = {"version": VERSION, "status": "failure", "reason": reason, "message": message}
    return JSONResponse({**body, "code": code}, status_code=code)
