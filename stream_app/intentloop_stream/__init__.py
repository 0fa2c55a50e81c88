"""The Faust worker, run by `intentloop worker` or `faust -A intentloop_stream worker` alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from intentloop_stream.worker import IntentloopApp

    app: IntentloopApp


def __getattr__(name: str) -> object:
    # Faust asks for `app`; importing the processing alone must not need Faust or any setting.
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from intentloop_stream.configuration import Configuration
    from intentloop_stream.worker import create_app

    globals()["app"] = create_app(Configuration())
    return globals()["app"]
