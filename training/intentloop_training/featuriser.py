"""From normalised texts to the rows of numbers that a classifier learns from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import FeatureUnion

from intentloop_training.embeddings import embedder
from intentloop_training.parameters import Features, Parameters

MANY_TEXTS = 1_000
"""From here on, what stands in one text alone is noise more often than a hint."""


_WORD = r"\S+"


class Featuriser:
    """TF-IDF of words and of pieces of words, and sentence embeddings when they are asked for.

    Each part has a fixed length, so that none drowns the others.
    """

    def __init__(self, ngrams: FeatureUnion, embedding_scale: float) -> None:
        self.ngrams = ngrams
        self.embedding_scale = embedding_scale

    @classmethod
    def fit(cls, texts: Sequence[str], parameters: Parameters) -> Featuriser:
        """Learn the vocabulary of normalised texts."""
        rare_below = parameters.rare_below if len(texts) >= MANY_TEXTS else 1
        common: dict[str, Any] = {
            "lowercase": False,
            "sublinear_tf": True,
            "min_df": rare_below,
            "dtype": np.float32,
        }
        words = TfidfVectorizer(token_pattern=_WORD, ngram_range=(1, 2), **common)
        # Pieces of words carry over typos and spellings: tikka, tika; karna, karni.
        pieces = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), **common)
        ngrams = FeatureUnion([("words", words), ("pieces", pieces)]).fit(texts)
        with_embeddings = parameters.features is Features.EMBEDDINGS
        return cls(ngrams, parameters.embedding_scale if with_embeddings else 0.0)

    def transform(self, texts: Sequence[str]) -> Any:
        """Return a sparse matrix with one row for each text."""
        return self.join(texts, self.embed(texts))

    def embed(self, texts: Sequence[str]) -> Any:
        """Return the scaled embeddings, None without any: the slow part, to be done once a text.

        Raises EmbeddingsMissingError when the packages for it are not installed.
        """
        return embedder().embed(texts) * self.embedding_scale if self.embedding_scale else None

    def join(self, texts: Sequence[str], embeddings: Any) -> Any:
        """Return the n-grams of texts with their embeddings beside them."""
        ngrams = self.ngrams.transform(texts)
        if embeddings is None:
            return ngrams
        return sp.hstack([ngrams, sp.csr_matrix(embeddings)], format="csr")
