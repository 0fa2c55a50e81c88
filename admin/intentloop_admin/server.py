"""The process: uvicorn around the app, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import structlog
import uvicorn

from intentloop_admin.app import create_app
from intentloop_admin.services import Configuration, Services
from intentloop_stream.interpreter import favour_throughput

_GRACE_SECONDS = 8
"""How long requests may take to end once the process is told to."""
_KEEP_ALIVE_SECONDS = 75
"""Longer than the minute for which proxies usually keep a connection: it is theirs to close."""

_MODES = {
    "postgres": "conversations go into the database, into files while it is away",
    "files": "DATABASE_URL is not set: everything is kept in JSON files under FALLBACK_DIR",
}

log = structlog.get_logger(__name__)


def run_api(configuration: Configuration) -> None:
    """Serve until SIGTERM or Ctrl-C, then write what is open and leave.

    Raises intentloop_sink.spool.SpoolError when the fallback's folder cannot be used.
    """
    api = configuration.api
    services = Services(configuration)
    app = create_app(services)
    favour_throughput()
    mode = services.storage.mode
    log.info("api_starts", url=f"http://{api.host}:{api.port}", mode=mode, means=_MODES[mode])
    uvicorn.run(
        app,
        host=api.host,
        port=api.port,
        # Every request has one line already, without the URL, which may name a sender.
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
