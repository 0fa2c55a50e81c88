"""What can happen to a server: three ways to be gone for a while."""

from __future__ import annotations

import time

from intentloop_devstack.server import Server

FREEZE_SECONDS = 10.0
"""How long a server stays frozen; nothing is waited for."""


def die(server: Server) -> None:
    """Crash, and come back."""
    server.kill()
    server.restart()


def restart(server: Server) -> None:
    """Stop in an orderly way, and come back."""
    server.restart()


def freeze(server: Server) -> None:
    """Answer nothing for a while, though every connection stays open."""
    server.pause()
    time.sleep(FREEZE_SECONDS)
    server.resume()
