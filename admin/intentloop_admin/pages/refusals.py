"""Which addresses are pages, and what a browser sees when one cannot be shown."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from intentloop_admin import problems
from intentloop_admin.pages.rendering import ASSETS, render
from intentloop_admin.pages.sign_in import SIGN_IN, to_sign_in

OPEN_PATHS = frozenset({SIGN_IN, "/theme", *(f"/assets/{name}" for name in ASSETS)})
"""Pages without a key."""
_NOT_PAGES = ("/api/", "/docs", "/openapi.json", "/swagger/", "/metrics", "/healthz", "/readyz")


def is_page(path: str) -> bool:
    """Tell whether a person looks at an address."""
    return not path.startswith(_NOT_PAGES)


def refusal(scope: Scope, error: HTTPException) -> Response:
    """Return the answer to a request that failed: a page for people, a problem for programs."""
    request = Request(scope)
    if not is_page(scope["path"]) or "text/html" not in request.headers.get("accept", ""):
        return problems.response(error)
    if error.status_code == HTTPStatus.UNAUTHORIZED:
        is_read = scope["method"] in ("GET", "HEAD")
        return to_sign_in(scope["path"] if is_read else "/", request.url.query if is_read else "")
    status = HTTPStatus(error.status_code)
    answer = render(request, "problem.html", status, detail=error.detail, title=status.phrase)
    answer.headers.update(error.headers or {})
    return answer
