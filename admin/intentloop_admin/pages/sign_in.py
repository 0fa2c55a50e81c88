"""Signing in with an API key, signing out, and what else a page needs around it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from intentloop_admin.pages.rendering import (
    THEME_COOKIE,
    THEMES,
    address,
    asset_bytes,
    go_to,
    render,
)
from intentloop_admin.problems import ProblemError, not_found, try_later
from intentloop_admin.routes.dependencies import ServicesOf
from intentloop_admin.security.keyring import KeysUnknownError
from intentloop_admin.security.keys import Key
from intentloop_admin.security.sessions import hand_over, is_foreign, take_back, token_in
from intentloop_schemas.event import DEFAULT_DATASET

SIGN_IN = "/sign-in"
OPEN_ROUTES = frozenset({SIGN_IN, "/sign-out", "/theme", "/assets/{name}"})
"""Routes that ask nothing of a key."""
_FIRST = "/"
_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_A_YEAR = 31_536_000

router = APIRouter(include_in_schema=False)


@router.get(SIGN_IN)
async def ask(request: Request, next_page: str = "/") -> Response:
    """Show the form."""
    return render(request, "sign_in.html", next_page=_inside(next_page), problem=None)


@router.post(SIGN_IN)
async def sign_in(
    request: Request,
    services: ServicesOf,
    key: Annotated[str, Form(max_length=256)] = "",
    next_page: Annotated[str, Form()] = "/",
) -> Response:
    """Open a session for who has a key; say why not to who has none."""
    if is_foreign(request.headers):
        raise ProblemError(HTTPStatus.FORBIDDEN, "Sign in from the page itself.")
    try:
        found = await services.keyring.find(key.strip())
    except KeysUnknownError:
        raise try_later("Keys cannot be looked up: the database is away.") from None
    if found is None:
        problem = (
            "This key is not known, or has expired or been revoked."
            if key.strip()
            else "Give your key: it begins with il_."
        )
        status = HTTPStatus.UNAUTHORIZED
        context = {"next_page": _inside(next_page), "problem": problem}
        return render(request, "sign_in.html", status, **context)
    wanted = _inside(next_page)
    answer = go_to(_home(found) if wanted == _FIRST else wanted)
    token = await services.sessions.open(found)
    hand_over(answer, token, over_tls=request.url.scheme == "https")
    return answer


@router.post("/sign-out")
async def sign_out(request: Request, services: ServicesOf) -> Response:
    """End the session."""
    if (token := token_in(request.scope)) is not None:
        await services.sessions.close(token)
    answer = go_to(SIGN_IN)
    take_back(answer)
    return answer


@router.post("/theme")
async def choose_theme(
    theme: Annotated[str, Form()], back: Annotated[str, Form()] = "/"
) -> Response:
    """Remember light or dark in the browser."""
    answer = go_to(_inside(back))
    if theme in THEMES:
        answer.set_cookie(THEME_COOKIE, theme, max_age=_A_YEAR, httponly=True, samesite="lax")
    return answer


@router.get("/assets/{name}")
async def asset(name: str) -> Response:
    """Return a style sheet, a script or a picture."""
    try:
        content = asset_bytes(name)
    except KeyError:
        raise not_found(f"asset {name}", "the pages name those there are") from None
    kind = _TYPES[name.rpartition(".")[2]]
    headers = {"Cache-Control": f"public, max-age={_A_YEAR}, immutable"}
    return Response(content, media_type=kind, headers=headers)


def to_sign_in(path: str, query: str) -> Response:
    """Send a browser to the form, and from there back to where it wanted to go."""
    wanted = path + (f"?{query}" if query else "")
    return RedirectResponse(f"{SIGN_IN}?next_page={quote(wanted, safe='')}", HTTPStatus.SEE_OTHER)


def _home(key: Key) -> str:
    """Return the first page that a key may open: some are not for the usual dataset."""
    if not key.datasets or key.may_use(DEFAULT_DATASET):
        return _FIRST
    return address(_FIRST, {"datasetId": min(key.datasets)})


def _inside(path: str) -> str:
    """Return a path of this site; of whatever else it may be, the first page."""
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if is_ours and path.isprintable() else _FIRST
