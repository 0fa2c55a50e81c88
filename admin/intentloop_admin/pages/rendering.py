"""From templates to answers: what every page shares."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http import HTTPStatus
from importlib.resources import files
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

from intentloop_admin.security.keys import Key
from intentloop_admin.security.scopes import Scope
from intentloop_schemas.masking import masked

THEME_COOKIE = "intentloop_theme"
THEMES = ("auto", "light", "dark")

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_UNKNOWN = "\N{EN DASH}"
_ASSETS = files(__package__) / "assets"


def _digests() -> dict[str, str]:
    return {
        asset.name: sha256(asset.read_bytes()).hexdigest()[:12]
        for asset in _ASSETS.iterdir()
        if asset.is_file()
    }


ASSETS = _digests()
"""Files that pages load, and what changes in their address when they do."""


def asset_bytes(name: str) -> bytes:
    """Return the content of an asset. Raises KeyError when there is none of that name."""
    if name not in ASSETS:
        raise KeyError(name)
    return (_ASSETS / name).read_bytes()


def render(
    request: Request, template: str, status: HTTPStatus = HTTPStatus.OK, **context: Any
) -> Response:
    """Return a page."""
    state = request.scope.get("state", {})
    theme = request.cookies.get(THEME_COOKIE, THEMES[0])
    html = _templates.get_template(template).render(
        key=state.get("key"),
        has_session=state.get("session") is not None,
        path=request.url.path,
        here=request.url.path + (f"?{request.url.query}" if request.url.query else ""),
        theme=theme if theme in THEMES else THEMES[0],
        **context,
    )
    return HTMLResponse(html, status, {"Content-Security-Policy": _POLICY})


def go_to(path: str, **query: Any) -> Response:
    """Return the answer to a form that was carried out: look there."""
    return RedirectResponse(address(path, query), HTTPStatus.SEE_OTHER)


def address(path: str, query: Mapping[str, Any]) -> str:
    """Return a path with the parts of a query that say something."""
    said = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(said)}" if said else path


def shown_sender(sender: str, key: Key) -> str:
    """Return a sender as a key may see it."""
    return sender if key.may(Scope.PII) else masked(sender)


def _percent(share: float | None, digits: int = 1) -> str:
    return _UNKNOWN if share is None else f"{share:.{digits}%}"


def _count(number: float | None) -> str:
    return _UNKNOWN if number is None else f"{number:,.0f}"


def _when(time: datetime | None) -> str:
    return "never" if time is None else time.astimezone(UTC).strftime("%d %b %Y %H:%M:%S")


def _epoch(milliseconds: int) -> str:
    return _when(datetime.fromtimestamp(milliseconds / 1000, UTC))


def _ago(time: datetime | None) -> str:
    if time is None:
        return "never"
    passed = datetime.now(UTC) - time
    for unit, name in ((timedelta(days=1), "d"), (timedelta(hours=1), "h"),
                       (timedelta(minutes=1), "min")):  # fmt: skip
        if passed >= unit:
            return f"{passed // unit} {name} ago"
    return "just now"


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s"


def _plain(name: str) -> str:
    """Return a name of the code as words: `callsSavedByBatching`, `low_confidence`."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ").lower()
    return words[:1].upper() + words[1:]


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("intentloop_admin.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": _percent,
        "count": _count,
        "when": _when,
        "ago": _ago,
        "epoch": _epoch,
        "duration": _duration,
        "plain": _plain,
    }
    environment.globals |= {
        "assets": ASSETS,
        "address": address,
        "quote": lambda text: quote(text, safe=""),
        "Scope": Scope,
        "themes": THEMES,
    }
    return environment


_templates = _environment()
