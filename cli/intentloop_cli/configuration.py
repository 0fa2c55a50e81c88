"""Every setting of every part, as a table or as a document, read from the settings classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings
from rich.table import Table

from intentloop_admin.settings import ApiSettings
from intentloop_demo.settings import SimulationSettings
from intentloop_producer import BackendSettings, LoggerSettings
from intentloop_schemas.kafka import KafkaSettings
from intentloop_schemas.pii_settings import PiiSettings
from intentloop_sink import DatabaseSettings
from intentloop_sink.spool import SpoolSettings
from intentloop_stream.settings import WorkerSettings
from intentloop_training.settings import NluSettings, TrainingSettings

PARTS: tuple[type[BaseSettings], ...] = (
    KafkaSettings,
    DatabaseSettings,
    WorkerSettings,
    SpoolSettings,
    ApiSettings,
    LoggerSettings,
    BackendSettings,
    PiiSettings,
    TrainingSettings,
    NluSettings,
    SimulationSettings,
)


class Setting(NamedTuple):
    """One environment variable of one part."""

    variable: str
    default: str
    description: str


def variable(part: type[BaseSettings], field: str) -> str:
    """Return the environment variable of a field, given its name or its alias."""
    info = part.model_fields.get(field)
    if info is None or info.alias:
        return info.alias if info and info.alias else field
    return f"{part.model_config.get('env_prefix', '')}{field}".upper()


def settings_of(part: type[BaseSettings]) -> Iterator[Setting]:
    """Yield the settings of one part in the order of its class."""
    for name, info in part.model_fields.items():
        yield Setting(variable(part, name), _default(info), " ".join(_description(info)))


def table(parts: Iterable[BaseSettings]) -> Table:
    """Return a table of what is set now; secrets stay hidden."""
    result = Table(title="Settings")
    result.add_column("variable", no_wrap=True)
    result.add_column("value", overflow="fold")
    result.add_column("what it does")
    for part in parts:
        for name, info in type(part).model_fields.items():
            value = getattr(part, name)
            result.add_row(
                variable(type(part), name),
                "" if value is None else str(value),
                " ".join(_description(info)),
            )
        result.add_section()
    return result


def markdown() -> str:
    """Return docs/configuration.md."""
    lines = [
        "# Configuration",
        "",
        "Every setting is an environment variable, read once when a part starts.",
        "`intentloop settings` shows what is in force.",
        "This page is generated: `make docs`.",
    ]
    for part in PARTS:
        lines += ["", f"## {part.__name__.removesuffix('Settings')}", ""]
        lines += [
            (part.__doc__ or "").strip(),
            "",
            "| variable | default | |",
            "| --- | --- | --- |",
        ]
        lines += [f"| `{s.variable}` | {s.default} | {s.description} |" for s in settings_of(part)]
    return "\n".join(lines) + "\n"


def _default(info: FieldInfo) -> str:
    if info.default is None or info.default is PydanticUndefined:
        return "none"
    return str(info.default).lower() if isinstance(info.default, bool) else f"`{info.default}`"


def _description(info: FieldInfo) -> list[str]:
    return (info.description or "").split()
