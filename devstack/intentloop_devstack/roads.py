"""Trying the ways to a server in order, remembering why some were closed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from intentloop_devstack.errors import UnavailableError
from intentloop_devstack.server import Server

AnyServer = TypeVar("AnyServer", bound=Server)


def first_open(roads: Mapping[str, Callable[[], AnyServer]], *, prefer: str | None) -> AnyServer:
    """Return the server of the first road that is open; it knows why those before were not.

    Args:
        roads: name to start function, best first.
        prefer: take this road only.

    Raises:
        UnavailableError: no road is open; every reason is named.
        ValueError: `prefer` is not a road.
    """
    if prefer is not None and prefer not in roads:
        raise ValueError(f"no such road: {prefer}; there are {', '.join(roads)}")
    closed: list[str] = []
    for name in roads if prefer is None else [prefer]:
        try:
            server = roads[name]()
        except UnavailableError as error:
            closed.append(f"{name}: {error}")
        else:
            server.passed_over = tuple(closed)
            return server
    raise UnavailableError("; ".join(closed))
