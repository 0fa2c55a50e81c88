"""The app: services in, FastAPI out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Match
from starlette.types import Scope

from intentloop_admin import documentation, problems
from intentloop_admin.http.body import BodyLimit
from intentloop_admin.http.context import RequestContext
from intentloop_admin.pages import (
    audit,
    dataset,
    intent,
    models,
    overview,
    pipeline,
    review,
    sign_in,
    training,
)
from intentloop_admin.pages.refusals import OPEN_PATHS, is_page, refusal
from intentloop_admin.routes import (
    conversations,
    datasets,
    erasures,
    examples,
    exports,
    health,
    intents,
    jobs,
    loggers,
    retention,
    statistics,
)
from intentloop_admin.security.access import Requires
from intentloop_admin.security.authentication import HEADER, Authentication
from intentloop_admin.services import Services

PAGES = (
    sign_in.router,
    overview.router,
    dataset.router,
    training.router,
    models.router,
    intent.router,
    review.router,
    audit.router,
    pipeline.router,
)
"""All that people look at; each module under `pages/` is one page."""

ROUTERS = (
    conversations.router,
    datasets.router,
    retention.router,
    exports.router,
    examples.router,
    intents.router,
    statistics.router,
    jobs.router,
    loggers.router,
    erasures.router,
    health.router,
    *PAGES,
)
"""All that the API can do; each module under `routes/` is one resource."""


OPEN_ROUTES = health.OPEN_PATHS | sign_in.OPEN_ROUTES
"""All that asks nothing of a key."""


def create_app(services: Services) -> FastAPI:
    """Build the app. It begins to work, and stops, with its lifespan."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with services.running():
            yield

    app = bare_app(lifespan=lifespan)
    app.state.services = services
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    _add_layers(app, services)
    return app


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # The router knows the methods of the first route that it found there.
        error.headers = {"Allow": ", ".join(_methods(request.scope))}
    return refusal(request.scope, problems.advised(error))


async def _on_invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for nothing else
    return refusal(request.scope, problems.of_invalid_request(error))


def _methods(scope: Scope) -> list[str]:
    """Return the methods that an address takes."""
    routes = (route for router in ROUTERS for route in router.routes)
    there = (route for route in routes if route.matches(scope)[0] is not Match.NONE)
    return sorted({method for route in there for method in getattr(route, "methods", ())})


def bare_app(**options: Any) -> FastAPI:
    """Return all routes and their documentation, with nothing to serve them."""
    app = FastAPI(**documentation.ABOUT, **options)
    for router in ROUTERS:
        require_guarded(router)
        app.include_router(router)
    documentation.serve(app)
    return app


def _add_layers(app: FastAPI, services: Services) -> None:
    """Wrap the app, from the innermost layer to the outermost."""
    settings = services.configuration.api
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes, seconds=settings.body_seconds)
    app.add_middleware(
        Authentication,
        keyring=services.keyring,
        limiter=services.limiter,
        sessions=services.sessions,
        open_paths=health.OPEN_PATHS | OPEN_PATHS,
        browsable=documentation.PATHS,
        is_page=is_page,
        refusal=refusal,
    )
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST", "PATCH", "PUT", "DELETE"],
            allow_headers=[HEADER, "Authorization", "Content-Type", "X-Request-ID"],
            expose_headers=["Link", "X-Request-ID", "RateLimit", "RateLimit-Policy", "Retry-After"],
        )
    app.add_middleware(
        RequestContext,
        metrics=services.metrics,
        policies=documentation.POLICIES,
        quiet=health.OPEN_PATHS,
        is_partial=lambda: services.stores.is_partial,
        refusal=refusal,
    )


def require_guarded(router: APIRouter) -> None:
    """Raise RuntimeError when a route asks nothing of a key and is not known to be open."""
    for route in router.routes:
        if not isinstance(route, APIRoute):
            raise RuntimeError(f"{route} is not a plain route: list its router in ROUTERS")  # noqa: TRY004 - the programmer's error, not a caller's
        if requirement(route) is None and route.path not in OPEN_ROUTES:
            raise RuntimeError(f"{route.path} asks for no scope: add `requires(...)` to it")


def requirement(route: APIRoute) -> Requires | None:
    """Return what a route asks of a key."""
    calls = (dependency.call for dependency in route.dependant.dependencies)
    return next((call for call in calls if isinstance(call, Requires)), None)
