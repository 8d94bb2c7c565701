"""A small chart of bars as a picture that is drawn here: places of its bars, and what it shows in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from featurestore.humanize import count
from featurestore.overview.distribution import Distribution

_WIDTH, _HEIGHT, _GAP = 1080.0, 120.0, 3.0
_WIDEST = 56.0
_SMALL = 88.0, 22.0, 1.0


@dataclass(frozen=True, slots=True)
class ChartBar:
    """``parts``: place, height and class of what stands on top of each other. ``title``: what it says of itself."""

    x: float
    width: float
    parts: tuple[tuple[float, float, str], ...]
    title: str


@dataclass(frozen=True, slots=True)
class BarChart:
    """``label``: what it shows, in words. ``top``: the greatest value. ``limit``: height of a line across it."""

    width: float
    height: float
    bars: tuple[ChartBar, ...]
    label: str
    top: float
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class ChartRows:
    """What is drawn of one batch or commit: good rows, and refused ones on top of them."""

    title: str
    rows: int
    refused: int = 0


def rows_chart(points: Sequence[ChartRows], of_what: str) -> BarChart | None:
    """Rows per batch or commit, from the oldest to the newest; None if there is nothing to draw."""
    top = max((point.rows + point.refused for point in points), default=0)
    if not top:
        return None
    step = min(_WIDEST, (_WIDTH + _GAP) / len(points))
    bars = []
    for place, point in enumerate(points):
        good, bad = _tall(point.rows, top), _tall(point.refused, top)
        parts = [(_HEIGHT - good, good, "good")] if good else []
        parts += [(_HEIGHT - good - bad, bad, "bad")] if bad else []
        bars.append(ChartBar(round(place * step, 2), round(step - _GAP, 2), tuple(parts), point.title))
    least = min(point.rows for point in points)
    label = (
        f"Rows of the last {len(points)} {of_what}: between {least:,} and {max(point.rows for point in points):,}, "
        f"the newest {points[-1].rows:,}"
    )
    return BarChart(round(step * len(points) - _GAP, 2), _HEIGHT, tuple(bars), label, top)


def limit_chart(points: Sequence[tuple[str, float]], limit: float, of_what: str) -> BarChart:
    """Titles and values from the oldest to the newest, and a line at the limit: what is above it has another color."""
    top = max(limit, *(value for _, value in points)) * 1.05
    step = min(_WIDEST, (_WIDTH + _GAP) / len(points))
    bars = []
    for place, (title, value) in enumerate(points):
        tall = max(1.5, round(value / top * _HEIGHT, 2))
        part = _HEIGHT - tall, tall, "bad" if value > limit else "good"
        bars.append(ChartBar(round(place * step, 2), round(step - _GAP, 2), (part,), title))
    above = sum(value > limit for _, value in points)
    label = (
        f"{of_what} of the last {count(len(points), 'measurement')}: the newest {points[-1][1]:.3g}, "
        f"{above} above the threshold of {limit:g}"
    )
    width = max(round(step * len(points) - _GAP, 2), _WIDEST)
    return BarChart(width, _HEIGHT, tuple(bars), label, top, round(_HEIGHT - limit / top * _HEIGHT, 2))


def _tall(rows: int, top: int) -> float:
    """A bar of a few rows can be seen beside one of millions."""
    return max(1.5, round(rows / top * (_HEIGHT - 2), 2)) if rows > 0 else 0.0


def range_chart(distribution: Distribution) -> BarChart | None:
    """How numbers are spread between the least and the greatest; None if that is no picture."""
    if not distribution.is_range or len(distribution.bars) < 2:
        return None
    width, height, gap = _SMALL
    top = max(bar.count for bar in distribution.bars)
    step = (width + gap) / len(distribution.bars)
    bars = []
    for place, bar in enumerate(distribution.bars):
        tall = max(1.0, bar.count / top * height) if bar.count else 0.0
        parts = ((round(height - tall, 2), round(tall, 2), "good"),) if tall else ()
        title = f"{bar.label}: {bar.count:,}" if bar.label else f"{bar.count:,}"
        bars.append(ChartBar(round(place * step, 2), round(step - gap, 2), parts, title))
    spread = ", ".join(f"{word} {value}" for word, value in distribution.facts)
    return BarChart(width, height, tuple(bars), f"Spread of the values: {spread}", top)
