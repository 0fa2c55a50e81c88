"""The `intentloop` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; say what to install when a package is not there."""
    try:
        from intentloop_cli.app import app
    except ModuleNotFoundError as error:
        sys.exit(
            f"intentloop: {error.name} is not installed. The logger alone does not need it; "
            "the command does: pip install 'intentloop[worker]'"
        )
    try:
        app()
    except ModuleNotFoundError as error:
        sys.exit(
            f"intentloop: {error.name} is not installed. Training and serving need it: "
            "pip install 'intentloop[worker,training]'"
        )
