"""The HTTP API beside live traffic, with a key for whoever watches."""

from __future__ import annotations

import secrets
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from intentloop_admin.settings import ApiSettings
from intentloop_devstack.claim import claim
from intentloop_devstack.process import ServerProcess

_KEY, _HOST, _PORT = "INTENTLOOP_ADMIN_KEY", "INTENTLOOP_API_HOST", "INTENTLOOP_API_PORT"
_USUAL_PORT = ApiSettings.model_fields["port"].default
_ANSWER_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Api:
    """A running API."""

    url: str
    key: str
    log: Path


@contextmanager
def running_api(folder: Path, environ: Mapping[str, str]) -> Iterator[Api]:
    """Run the API as long as the context lasts. Blocks until it serves, about 2 s.

    `environ` is the whole environment; what it does not say is chosen: the usual port or, if that
    is taken, a free one, and a new key.

    Raises intentloop_devstack.UnavailableError when it does not start.
    """
    host = environ.get(_HOST) or "127.0.0.1"
    port = int(environ.get(_PORT) or _free_port(host))
    key = environ.get(_KEY) or secrets.token_hex(16)
    url = f"http://{host}:{port}"
    with claim(folder.absolute(), "api") as place:
        server = ServerProcess(
            name="The API",
            command=[sys.executable, "-m", "intentloop_cli", "api"],
            claim=place,
            ready=lambda: _serves(url),
            environ={**environ, _HOST: host, _PORT: str(port), _KEY: key},
        )
        server.start()
        try:
            yield Api(url, key, server.log)
        finally:
            server.stop()


def _free_port(host: str) -> int:
    for port in (_USUAL_PORT, 0):
        with suppress(OSError), socket.create_server((host, port)) as free:
            return int(free.getsockname()[1])
    return int(_USUAL_PORT)


def _serves(url: str) -> bool:
    with suppress(OSError), urlopen(f"{url}/readyz", timeout=_ANSWER_SECONDS) as answer:  # noqa: S310 - our own
        return bool(answer.status == 200)  # noqa: PLR2004 - OK
    return False
