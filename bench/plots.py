"""Plots as SVG, the same bytes for the same figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_WIDTH = 8.0
_OURS, _OTHER = "#1f6f8b", "#b8b8b8"


def bars(file: Path, title: str, values: Mapping[str, Sequence[float]], ours: str) -> None:
    """Draw medians as horizontal bars, single measurements as dots."""
    figure, axes = _canvas(title, 0.9 + 0.42 * len(values))
    names = list(values)[::-1]
    for place, name in enumerate(names):
        ordered = sorted(values[name])
        color = _OURS if name.startswith(ours) else _OTHER
        axes.barh(place, ordered[len(ordered) // 2], color=color, height=0.6)
        axes.plot(ordered, [place] * len(ordered), "k.", markersize=4)
    axes.set_yticks(range(len(names)), names)
    axes.xaxis.set_major_formatter(_thousands())
    _save(figure, file)


def lines(
    file: Path,
    title: str,
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    labels: tuple[str, str],
    *,
    logarithmic: bool = False,
) -> None:
    """Draw x against y for each series; logarithmic scales y."""
    figure, axes = _canvas(title, 3.6)
    for name, (x, y) in series.items():
        axes.plot(x, y, marker="o", markersize=3, label=name)
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    if logarithmic:
        axes.set_yscale("log")
    axes.legend(frameon=False, fontsize=8)
    _save(figure, file)


def _canvas(title: str, height: float) -> tuple[Any, Any]:
    import matplotlib as mpl

    mpl.use("svg")
    # Ids in the file come from this, and not from chance.
    mpl.rcParams["svg.hashsalt"] = "intentloop"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(_WIDTH, height), layout="constrained")
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _thousands() -> Any:
    from matplotlib.ticker import FuncFormatter

    return FuncFormatter(lambda value, _: f"{value:,.0f}")


def _save(figure: Any, file: Path) -> None:
    from matplotlib import pyplot

    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
