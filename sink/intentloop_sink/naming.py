"""What a dataset is called before somebody gives it a name."""

from __future__ import annotations


def dataset_name(dataset_id: str) -> str:
    """Return a name made of a dataset's id."""
    words = dataset_id.removeprefix("ds-").replace("-", " ").strip()
    return words.capitalize() or dataset_id
