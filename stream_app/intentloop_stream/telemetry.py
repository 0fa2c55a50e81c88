"""What a worker tells over HTTP: its metrics, whether it lives, whether it takes anything."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from intentloop_stream.metrics import Metrics

ALIVE, READY, METRICS = "/healthz", "/readyz", "/metrics"


class Telemetry:
    """Serves three paths on the worker's own event loop, so that a blocked one does not answer.

    Args:
        metrics: shown under `/metrics`.
        not_ready: why the worker takes nothing now, None when it does.
    """

    def __init__(self, metrics: Metrics, not_ready: Callable[[], str | None]) -> None:
        self._metrics = metrics
        self._not_ready = not_ready
        app = web.Application()
        app.add_routes(
            [
                web.get(ALIVE, self._alive),
                web.get(READY, self._ready),
                web.get(METRICS, self._show),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError when the address is taken."""
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()

    async def stop(self) -> None:
        """Listen no more."""
        await self._runner.cleanup()

    async def _alive(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _ready(self, _: web.Request) -> web.Response:
        reason = self._not_ready()
        if reason is None:
            return web.json_response({"status": "ok"})
        return web.json_response({"status": "waits", "reason": reason}, status=503)

    async def _show(self, _: web.Request) -> web.Response:
        return web.Response(
            body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )
