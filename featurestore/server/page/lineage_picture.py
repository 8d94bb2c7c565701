"""What a resource is made of and what is made of it, as a picture: sources to the left, what models read to the right."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from featurestore.overview.concern import mark
from featurestore.overview.overview import Key, Overview, OverviewItem
from featurestore.overview.summary import ListSummary
from featurestore.redaction import redact
from featurestore.resources import DataPipeline, View

_WIDTH, _HEIGHT, _ACROSS, _DOWN, _EDGE = 176, 46, 44, 12, 2
_MOST = 12
"""Nodes one below another; what is left out is counted in one more."""
_LETTERS = 19


@dataclass(frozen=True, slots=True)
class PictureNode:
    """``link``: "" if it has no page. ``mark``: how it stands. ``note``: what it is. ``title``: its whole name."""

    x: int
    y: int
    name: str
    note: str
    title: str
    link: str
    mark: str
    is_here: bool


@dataclass(frozen=True, slots=True)
class LineagePicture:
    """``lines``: paths as SVG has them."""

    width: int
    height: int
    node_width: int
    node_height: int
    nodes: tuple[PictureNode, ...]
    lines: tuple[str, ...]


@dataclass(slots=True)
class _Spot:
    """Something to draw. ``above``: what it is made of. ``is_way``: a line goes past others here."""

    name: str
    note: str
    title: str
    link: str = ""
    mark: str = ""
    above: set[Key] = field(default_factory=set)
    column: int = 0
    is_way: bool = False

    @property
    def height(self) -> int:
        return 0 if self.is_way else _HEIGHT


def lineage_picture(overview: Overview, here: OverviewItem) -> LineagePicture:
    """All that the resource is made of, and all that is made of it."""
    keys = overview.before(here.key) | overview.after(here.key) | {here.key}
    spots: dict[Key, _Spot] = {}
    for key in overview.items:
        if key in keys:
            item = overview.items[key]
            spots[key] = _spot(overview, item, keys)
            spots |= _sources(item, spots[key])
    columns: dict[Key, int] = {}
    for key in spots:
        spots[key].column = _column(spots, key, columns, set())
    return _drawn(spots, here.key)


def _spot(overview: Overview, item: OverviewItem, keys: Collection[Key]) -> _Spot:
    named = {key for key in item.names if key in keys}
    return _Spot(
        item.name, _note(item), item.name, f"/{item.kind.folder}/{item.name}", mark(overview, item), named
    )


def _note(item: OverviewItem) -> str:
    if item.kind.model is DataPipeline:
        return "dataset"
    return (
        "view on demand"
        if item.kind.model is View and isinstance(item.summary, ListSummary)
        else item.kind.noun
    )


def _sources(item: OverviewItem, spot: _Spot) -> dict[Key, _Spot]:
    """Where the rows of a pipeline come from."""
    if item.summary is None or item.kind.model is not DataPipeline:
        return {}
    source = item.summary.accepted.resource.spec.source
    fields = source.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    uri = redact(str(fields.get("uri") or next(iter(fields), "source")))
    key = "source", item.name
    spot.above.add(key)
    return {key: _Spot(uri, f"source, {fields['format']}" if "format" in fields else "source", uri)}


def _column(spots: dict[Key, _Spot], key: Key, known: dict[Key, int], on_the_way: set[Key]) -> int:
    """One to the right of all that it is made of. What refers to itself, by whatever way, ends there."""
    if key not in known:
        on_the_way.add(key)
        above = [parent for parent in sorted(spots[key].above) if parent not in on_the_way]
        known[key] = max((_column(spots, parent, known, on_the_way) + 1 for parent in above), default=0)
        on_the_way.discard(key)
    return known[key]


def _drawn(spots: dict[Key, _Spot], here: Key) -> LineagePicture:
    _ways(spots)
    columns: dict[int, list[Key]] = {}
    for key, spot in spots.items():
        columns.setdefault(spot.column, []).append(key)
    shown = {column: _shown(spots, keys, here) for column, keys in columns.items()}
    height = max(_tall(spots, keys) for keys in shown.values()) + 2 * _EDGE
    places: dict[Key, tuple[int, int]] = {}
    nodes: list[PictureNode] = []
    below = 0
    for column in sorted(columns):
        # Beside what they are made of.
        order = sorted(shown[column], key=lambda key: (_middle(spots[key].above, places), key))
        x, y = _EDGE + column * (_WIDTH + _ACROSS), (height - _tall(spots, order)) // 2
        for key in order:
            spot = spots[key]
            places[key] = x, y + spot.height // 2
            if not spot.is_way:
                name = _cut(spot.name)
                nodes.append(
                    PictureNode(x, y, name, spot.note, spot.title, spot.link, spot.mark, key == here)
                )
            y += spot.height + _DOWN
        if more := _nodes(spots, columns[column]) - _nodes(spots, order):
            nodes.append(
                PictureNode(x, y, f"and {more:,} more", "not drawn", f"{more:,} more", "", "", False)
            )
            below = _HEIGHT + _DOWN
    lines = tuple(
        line
        for key, spot in spots.items()
        for above in sorted(spot.above)
        if key in places and above in places and (line := _line(spots, places, above, key))
    )
    width = (max(columns) + 1) * (_WIDTH + _ACROSS) - _ACROSS + 2 * _EDGE
    return LineagePicture(width, height + below, _WIDTH, _HEIGHT, tuple(nodes), lines)


def _ways(spots: dict[Key, _Spot]) -> None:
    """Put a way past the nodes of each column that a line goes over, so that it is not drawn through them."""
    for key, spot in list(spots.items()):
        for above in sorted(spot.above):
            last = above
            for column in range(spots[above].column + 1, spot.column):
                way = f"{above[0]}/{above[1]}", f"{column}\0{key[0]}/{key[1]}"
                spots[way] = _Spot("", "", "", above={last}, column=column, is_way=True)
                last = way
            spot.above = (spot.above - {above}) | {last}


def _shown(spots: dict[Key, _Spot], keys: list[Key], here: Key) -> list[Key]:
    """As many as are drawn of a column; the one that the picture is about is never left out."""
    nodes = sorted((key for key in keys if not spots[key].is_way), key=lambda key: (key != here, key))[:_MOST]
    left_out = len(nodes) < _nodes(spots, keys)
    return [*nodes, *(key for key in keys if spots[key].is_way and not left_out)]


def _nodes(spots: dict[Key, _Spot], keys: list[Key]) -> int:
    return sum(not spots[key].is_way for key in keys)


def _tall(spots: dict[Key, _Spot], keys: list[Key]) -> int:
    return sum(spots[key].height + _DOWN for key in keys) - _DOWN


def _middle(above: set[Key], places: dict[Key, tuple[int, int]]) -> float:
    known = [places[key][1] for key in above if key in places]
    return sum(known) / len(known) if known else 0.0


def _line(spots: dict[Key, _Spot], places: dict[Key, tuple[int, int]], above: Key, key: Key) -> str:
    """From the right side of the one to the left side of the other; through the whole width of a way."""
    x1, y1 = places[above][0] + _WIDTH, places[above][1]
    x2, y2 = places[key]
    half = (x2 - x1) // 2
    through = f" H{x2 + _WIDTH}" if spots[key].is_way else ""
    return f"M{x1} {y1} C{x1 + half} {y1} {x2 - half} {y2} {x2} {y2}{through}"


def _cut(name: str) -> str:
    """The end of a name that is too long says more than its beginning."""
    return name if len(name) <= _LETTERS else f"…{name[1 - _LETTERS :]}"
