"""Commands that are imported when they are called: what all of them need takes a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, TypeAlias

from typer import Typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

Command: TypeAlias = Any
Context: TypeAlias = Any
"""Typer has no public names for what it overrides."""


def lazily(places: Mapping[str, str]) -> type[TyperGroup]:
    """Return a group that has, besides its own, commands by name.

    Each is a function or a Typer app, given as `module:attribute`.
    """

    class LazyGroup(TyperGroup):
        """Imports a command when somebody asks for it."""

        def list_commands(self, ctx: Context) -> list[str]:
            return [*super().list_commands(ctx), *places]

        def get_command(self, ctx: Context, cmd_name: str) -> Command:
            place = places.get(cmd_name)
            return _load(cmd_name, place) if place else super().get_command(ctx, cmd_name)

    return LazyGroup


def _load(name: str, place: str) -> Command:
    module, attribute = place.split(":")
    found: Typer | Callable[..., object] = getattr(import_module(module), attribute)
    command = get_group(found) if isinstance(found, Typer) else _single(found)
    command.name = name
    return command


def _single(function: Callable[..., object]) -> Command:
    app = Typer(add_completion=False)
    app.command()(function)
    return get_command(app)
