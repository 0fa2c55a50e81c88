"""Parts of documents that a measurement writes, between two marks."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path


def fill(document: Path, part: str, text: str) -> None:
    """Replace what stands between `<!-- part -->` and `<!-- end of part -->`.

    Raises ValueError when the document has no such part.
    """
    before, begin, rest = document.read_text().partition(f"<!-- {part} -->\n")
    _, end, after = rest.partition(f"<!-- end of {part} -->")
    if not begin or not end:
        raise ValueError(f"{document} has no part {part!r}")
    document.write_text(f"{before}{begin}\n{text.strip()}\n\n{end}{after}")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def circumstances(**versions: str) -> str:
    """Say when and on what kind of machine something was measured."""
    named = "".join(f", {name} {version}" for name, version in versions.items() if version)
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d} on {os.cpu_count()} cores "
        f"({platform.machine()}, {platform.system()}), Python {platform.python_version()}{named}."
    )
