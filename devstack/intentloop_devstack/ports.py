"""Choosing ports that a server can be restarted on."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from typing import TypeVar

from intentloop_devstack.errors import PortTakenError

Started = TypeVar("Started")

# Below the ports that Linux and macOS hand out to outgoing connections: those could take the
# port while its server is down, and a client retrying on loopback could even connect to itself.
_CANDIDATES = range(20_000, 32_000)
_TRIES = 5
LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """Return a loopback port nobody listens on; another process may still take it first."""
    while True:
        port = secrets.choice(_CANDIDATES)
        with socket.socket() as probe:
            if _binds(probe, port):
                return port


def _binds(probe: socket.socket, port: int) -> bool:
    try:
        probe.bind((LOOPBACK, port))
    except OSError:
        return False
    return True


def on_free_port(start: Callable[[int], Started]) -> Started:
    """Return what `start` makes of a free port; other ports are tried when it was just taken."""
    for _ in range(_TRIES - 1):
        try:
            return start(free_port())
        except PortTakenError:
            continue
    return start(free_port())


def answers(port: int) -> bool:
    """Tell whether something accepts connections on a loopback port."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False
