"""The API's own documentation: OpenAPI, and pages to read and try it, without a CDN."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi_swagger import patch_fastapi

from intentloop_admin.problems import Problem
from intentloop_admin.routes import health
from intentloop_admin.routes.conversations import Bulk
from intentloop_admin.security.authentication import HEADER

_PAGE, _SCHEMA = "/docs", "/openapi.json"
PATHS = frozenset(
    {
        _PAGE,
        _SCHEMA,
        "/swagger/swagger-ui-bundle.js",
        "/swagger/swagger-ui.css",
        "/swagger/favicon-32x32.png",
    }
)
"""Read with any key; a browser may ask for it and send it as a password."""

ABOUT: dict[str, Any] = {
    "title": "intentloop",
    "summary": "What customers said, what the model understood, and how sure it was.",
    "description": (
        "Every request but the two of health carries a key in `X-API-KEY`; `intentloop keys "
        "create` makes one. Errors are problem details (RFC 9457) that say what to do. "
        "Times are ISO 8601; event times in conversations are epoch milliseconds."
    ),
    "version": version("intentloop"),
    "docs_url": None,
    "redoc_url": None,
    "openapi_url": _SCHEMA,
    "swagger_ui_oauth2_redirect_url": None,
}

POLICIES = {
    # The page starts itself with a few lines of script inside it.
    _PAGE: "default-src 'none'; connect-src 'self'; img-src 'self' data:; "
    "script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"
}
"""Content security policies of pages."""

_REFERENCES = "#/components/schemas/{model}"


def serve(app: FastAPI) -> None:
    """Add the pages, and to the schema what no route's signature shows."""
    patch_fastapi(app, docs_url=_PAGE, redirect_from_root_to_docs=False)
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(plain())
        return plain()

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(schema: dict[str, Any]) -> None:
    """Add that a key is asked for, and the models that are only referred to."""
    # Here, and not as a dependency of each route, which would be looked up with each request.
    schema["components"]["securitySchemes"] = {
        "key": {"type": "apiKey", "in": "header", "name": HEADER}
    }
    schema["security"] = [{"key": []}]
    for path in health.OPEN_PATHS:
        schema["paths"][path]["get"]["security"] = []
    known = schema["components"]["schemas"]
    for model in (Bulk, Problem):
        described = model.model_json_schema(ref_template=_REFERENCES)
        known |= described.pop("$defs", {})
        known[model.__name__] = described
