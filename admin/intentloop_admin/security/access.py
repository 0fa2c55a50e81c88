"""What a route asks of a key. Every route asks something, or says that it is open."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import Any

from fastapi import Depends, Request

from intentloop_admin.problems import ProblemError
from intentloop_admin.security.keys import Key
from intentloop_admin.security.scopes import Scope
from intentloop_schemas.event import DEFAULT_DATASET


class Where(Enum):
    """Where a request says which dataset it is about."""

    PATH = auto()
    """`dataset_id` in the path."""
    QUERY = auto()
    """`datasetId` in the query, or the usual dataset."""
    ITEMS = auto()
    """Each item of the body, or of the answer: the route looks by itself."""
    NONE = auto()
    """It is about no dataset, so that any key with the right will do."""
    ALL = auto()
    """It is about all datasets, so that a key for some of them will not do."""


@dataclass(frozen=True)
class Requires:
    """A dependency that yields the key, or ends the request with 403."""

    scope: Scope
    where: Where

    async def __call__(self, request: Request) -> Key:
        """Return the key of a request."""
        key: Key = request.state.key
        if not key.may(self.scope):
            raise forbidden(f"This key lacks the scope {self.scope}.")
        if self.where is Where.ALL and key.datasets is not None:
            raise forbidden("This key is for some datasets, and this is about all of them.")
        dataset_id = self._dataset(request)
        if dataset_id is not None and not key.may_use(dataset_id):
            raise forbidden(f"This key is not for the dataset {dataset_id}.")
        return key

    def _dataset(self, request: Request) -> str | None:
        if self.where is Where.PATH:
            return str(request.path_params["dataset_id"])
        if self.where is Where.QUERY:
            return str(request.query_params.get("datasetId", DEFAULT_DATASET))
        return None


def requires(scope: Scope, where: Where) -> Any:
    """Return the dependency of a route, whose value is the key."""
    return Depends(Requires(scope, where))


def forbidden(detail: str) -> ProblemError:
    """Return the problem that a key may not do this."""
    return ProblemError(HTTPStatus.FORBIDDEN, f"{detail} Ask for another key.")
