"""The form of everything that is stored and shown as JSON."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Report(BaseModel):
    """Frozen, with camelCase names in JSON."""

    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        # "model_version" is a version, not a pydantic method.
        protected_namespaces=(),
    )
