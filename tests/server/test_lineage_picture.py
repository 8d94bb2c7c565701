"""The picture of a lineage, of whatever refers to whatever."""

from __future__ import annotations

from featurestore.overview.overview import Key, Overview, OverviewItem
from featurestore.resources.kinds import KINDS
from featurestore.server.page.lineage_picture import LineagePicture, lineage_picture


def overview(**named: list[str]) -> Overview:
    """Views by name, each with the names of those that it is made of."""
    view = KINDS["FeatureView"]
    items: dict[Key, OverviewItem] = {
        (view.name, name): OverviewItem(view, name, None, names=tuple((view.name, it) for it in above))
        for name, above in named.items()
    }
    return Overview(0, items)


def drawn(of: str, **named: list[str]) -> LineagePicture:
    found = overview(**named)
    return lineage_picture(found, found.items["FeatureView", of])


def columns(picture: LineagePicture) -> list[list[str]]:
    """Names from left to right, and in each column from top to bottom."""
    places = sorted({node.x for node in picture.nodes})
    return [[it.title for it in sorted(picture.nodes, key=lambda it: it.y) if it.x == x] for x in places]


def test_what_something_is_made_of_stands_to_its_left_and_strangers_are_not_drawn() -> None:
    picture = drawn("b", a=[], b=["a"], c=["b"], d=["a", "c"], stranger=[], beside=["a"])
    assert columns(picture) == [["a"], ["b"], ["c"], ["d"]]
    assert [node.title for node in picture.nodes if node.is_here] == ["b"]


def test_a_line_over_a_column_is_drawn_past_what_stands_there() -> None:
    picture = drawn("b", a=[], b=["a"], c=["b", "a"])
    (between,) = [node for node in picture.nodes if node.title == "b"]
    # A way has a line of its own through the column: to its left side, and to its right side.
    (way,) = [line for line in picture.lines if "H" in line]
    height = int(way.split("H")[0].split()[-1])
    assert not between.y <= height <= between.y + picture.node_height


def test_what_refers_to_itself_by_whatever_way_is_drawn_all_the_same() -> None:
    picture = drawn("a", a=["b"], b=["a"], c=["c", "a"])
    assert sorted(node.title for node in picture.nodes) == ["a", "b", "c"]


def test_many_ways_from_one_to_another_take_no_longer_than_the_lines_there_are() -> None:
    layers = {
        f"l{depth}n{n}": [f"l{depth - 1}n{other}" for other in range(10)] if depth else []
        for depth in range(9)
        for n in range(10)
    }
    assert len(columns(drawn("l0n0", **layers))) == 9


def test_of_many_some_are_drawn_the_one_in_question_among_them_and_the_others_counted() -> None:
    many = {f"v{n:03d}": ["a"] for n in range(200)}
    picture = drawn("v150", a=[], **many, end=["v150"])
    assert columns(picture) == [["a"], ["v150"], ["end"]]
    picture = drawn("a", a=[], **many, end=list(many))
    titles = [node.title for node in picture.nodes]
    assert "188 more" in titles
    assert len(titles) == 1 + 13 + 1
    assert all(node.y + picture.node_height <= picture.height for node in picture.nodes)
