"""What the API is measured against: FastAPI that validates the same body, and does nothing else."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI
from pydantic import BaseModel, Field

from intentloop_schemas import Event

app = FastAPI()


class Bulk(BaseModel):
    """The body of the contract."""

    conversations: Annotated[list[Event], Field(min_length=1, max_length=1_000)]


@app.post("/api/training/conversations/bulk")
async def bulk(body: Bulk) -> dict[str, object]:
    """Answer as the contract does."""
    return {
        "success": True,
        "count": len(body.conversations),
        "flaggedForReview": 0,
        "datasetId": body.conversations[0].dataset_id,
    }
