"""The table of routes in docs/api.md: `python -m intentloop_admin.reference docs/api.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from fastapi.routing import APIRoute

from intentloop_admin.app import ROUTERS, requirement

BEGIN, END = "<!-- routes, by `make docs` -->\n", "<!-- end of routes -->\n"


def table() -> str:
    """Return the routes and the scopes that they ask for."""
    return "\n".join(["| request | scope | |", "| --- | --- | --- |", *_rows(), ""])


def updated(text: str) -> str:
    """Return a document with its table as it should be. Raises ValueError when it has no place."""
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"there is no {BEGIN.strip()} ... {END.strip()}")
    return f"{before}{BEGIN}{table()}{END}{after}"


def _rows() -> Iterator[str]:
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, APIRoute):
                wants = requirement(route)
                scope = f"`{wants.scope}`" if wants else "open"
                for method in sorted(route.methods or ()):
                    yield f"| `{method} {route.path}` | {scope} | {route.summary} |"


if __name__ == "__main__":
    document = Path(sys.argv[1])
    document.write_text(updated(document.read_text()))
