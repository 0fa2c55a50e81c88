"""Charts as SVG, drawn on the server: they need no script, and style sheets give them colour.

Each has a name and a description for who cannot see it, and the page shows its numbers as a table
beside it. Coordinates are pixels of a viewBox that scales with the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil, floor, log10

from markupsafe import Markup, escape

WIDTH, HEIGHT = 720.0, 220.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 66.0, 12.0, 18.0, 30.0
_TICKS = 4
_MAX_LABELS = 6
_GAP = 0.18
"""Of a bar's width."""


@dataclass
class Plot:
    """A drawing with axes. `x` runs from 0 to `columns`, `y` from 0 to `top`."""

    title: str
    columns: float
    top: float
    percent: bool = False
    """Whether y is a share."""
    parts: list[Markup] = field(default_factory=list)

    def bars(self, heights: Sequence[float], style: str, hints: Sequence[str]) -> None:
        """Draw a bar in each column, with a hint for the pointer."""
        for column, (height, hint) in enumerate(zip(heights, hints, strict=True)):
            if height <= 0:
                continue
            x, width = self._x(column + _GAP / 2), self._width(1 - _GAP)
            y = self._y(height)
            self._add(
                f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
                f'height="{self._y(0) - y:.1f}"><title>{escape(hint)}</title></rect>'
            )

    def line(self, points: Iterable[tuple[float, float | None]], style: str) -> None:
        """Draw a line through points; where a value is missing it breaks."""
        runs: list[list[str]] = [[]]
        for x, y in points:
            if y is None:
                runs.append([])
            else:
                runs[-1].append(f"{self._x(x):.1f},{self._y(y):.1f}")
        for run in filter(None, runs):
            # A single point is a line of no length: round caps make it a dot.
            path = "M" + " L".join(run if len(run) > 1 else run * 2)
            self._add(f'<path class="{style}" d="{path}"/>')

    def band(self, edges: Sequence[tuple[float, float, float]], style: str) -> None:
        """Fill between a lower and an upper line; `edges` are (x, low, high)."""
        upper = [f"{self._x(x):.1f},{self._y(high):.1f}" for x, _, high in edges]
        lower = [f"{self._x(x):.1f},{self._y(low):.1f}" for x, low, _ in reversed(edges)]
        if len(edges) > 1:
            self._add(f'<polygon class="{style}" points="{" ".join(upper + lower)}"/>')

    def interval(self, x: float, low: float, high: float, style: str) -> None:
        """Draw a vertical line between two values."""
        self._add(
            f'<line class="{style}" x1="{self._x(x):.1f}" x2="{self._x(x):.1f}" '
            f'y1="{self._y(low):.1f}" y2="{self._y(high):.1f}"/>'
        )

    def point(self, x: float, y: float, style: str, hint: str) -> None:
        """Draw a dot with a hint for the pointer."""
        self._add(
            f'<circle class="{style}" cx="{self._x(x):.1f}" cy="{self._y(y):.1f}" r="5">'
            f"<title>{escape(hint)}</title></circle>"
        )

    def label(self, x: float, text: str, *, is_odd: bool = False) -> None:
        """Write below the x axis; a narrow screen leaves the odd ones out."""
        anchor = "start" if x <= 0 else "end" if x >= self.columns else "middle"
        self._add(
            f'<text class="tick{" odd" if is_odd else ""}" x="{self._x(x):.1f}" y="{HEIGHT - 8}" '
            f'text-anchor="{anchor}">{escape(text)}</text>'
        )

    def svg(self) -> Markup:
        """Return the drawing."""
        return Markup(  # noqa: S704 - escaped, part by part
            f'<svg class="chart" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" '
            f'aria-label="{escape(self.title)}">{"".join([*self._grid(), *self.parts])}</svg>'
        )

    def _grid(self) -> Iterable[str]:
        for value in _ticks(self.top):
            y = self._y(value)
            text = f"{value:.0%}" if self.percent else short(value)
            line = f'x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"'
            place = f'x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end"'
            yield f'<line class="grid" {line}/><text class="tick" {place}>{text}</text>'

    def _add(self, svg: str) -> None:
        self.parts.append(Markup(svg))  # noqa: S704 - what is not a number is escaped

    def _x(self, x: float) -> float:
        return _LEFT + x / (self.columns or 1) * (WIDTH - _LEFT - _RIGHT)

    def _width(self, columns: float) -> float:
        return columns / (self.columns or 1) * (WIDTH - _LEFT - _RIGHT)

    def _y(self, y: float) -> float:
        return HEIGHT - _BOTTOM - min(1.0, y / (self.top or 1)) * (HEIGHT - _TOP - _BOTTOM)


def time_labels(plot: Plot, times: Sequence[datetime], form: str) -> None:
    """Write some of the times below their columns, evenly."""
    step = max(1, ceil(len(times) / _MAX_LABELS))
    for number, column in enumerate(range(0, len(times), step)):
        plot.label(column + 0.5, times[column].strftime(form), is_odd=number % 2 == 1)


def ceiling(values: Iterable[float]) -> float:
    """Return a round number that no value exceeds, so that ticks are round too."""
    return max(_ticks(max(values, default=0.0) or 1.0))


def short(number: float) -> str:
    """Return a number in four characters or so: 950, 1.25k, 34k, 5M."""
    for size, suffix in ((1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g}{suffix}"
    return f"{number:g}"


def _ticks(top: float) -> list[float]:
    """Return round values from 0 to `top` or just above, about four of them."""
    raw = top / _TICKS
    magnitude = 10.0 ** floor(log10(raw))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude >= raw * 0.999)
    return [round(i * step, 10) for i in range(ceil(top / step - 0.001) + 1)]
