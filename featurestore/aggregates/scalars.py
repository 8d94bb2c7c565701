"""Windows of one entity, computed of Python's numbers: arrays of a few items take fifty times as long.

A value is the one that :mod:`featurestore.aggregates.aggregates` gives, to the last bit: integers are exact, and floats
are added in the same order. An aggregate that has no such form is computed by arrays, also for one entity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

State = tuple[Any, ...]
"""Of a tile: its columns in the order of the aggregate's schema."""
_INT64 = range(-(1 << 63), 1 << 63)


class ScalarAggregate(Protocol):
    """One aggregate."""

    def state(self, values: Sequence[Any]) -> State:
        """The state of a tile of these values, of which there is one at least."""

    def value(self, tiles: Sequence[State], values: Sequence[Any]) -> Any:
        """The value of a window of these tiles and then of these values; None if it has none."""


class ScalarCount:
    def state(self, values: Sequence[Any]) -> State:
        return (len(values),)

    def value(self, tiles: Sequence[State], values: Sequence[Any]) -> int:
        return _number(tiles, values)


class ScalarSum:
    """Of integers exactly, whose tiles are two halves; of floats in order."""

    def state(self, values: Sequence[Any]) -> State:
        if isinstance(values[0], int):
            return sum(value >> 32 for value in values), sum(value & 0xFFFF_FFFF for value in values)
        return (_added(values),)

    def value(self, tiles: Sequence[State], values: Sequence[Any]) -> Any:
        if not (tiles or values):
            return None
        if len(tiles[0]) == 1 if tiles else not isinstance(values[0], int):
            return _added(values, _added([total for (total,) in tiles]))
        total = sum((high << 32) + low for high, low in tiles) + sum(values)
        return total if total in _INT64 else None


class ScalarMean:
    def state(self, values: Sequence[float]) -> State:
        return len(values), _added(values)

    def value(self, tiles: Sequence[State], values: Sequence[float]) -> float | None:
        if not (tiles or values):
            return None
        return _added(values, _added([tile[1] for tile in tiles])) / _number(tiles, values)


class ScalarVariance:
    def __init__(self, root: bool) -> None:
        self._root = root

    def state(self, values: Sequence[float]) -> State:
        total = _added(values)
        mean = total / len(values)
        return len(values), total, _added([(value - mean) * (value - mean) for value in values])

    def value(self, tiles: Sequence[State], values: Sequence[float]) -> float | None:
        number = _number(tiles, values)
        if number < 2:
            return None
        mean = _added(values, _added([tile[1] for tile in tiles])) / number
        squares = 0.0
        for n, total, within in tiles:
            distance = total / n - mean
            squares += within + n * (distance * distance)
        for value in values:
            distance = value - mean
            squares += distance * distance
        variance = squares / (number - 1)
        return math.sqrt(variance) if self._root else variance


class ScalarExtreme:
    """The least or the greatest value: the first one of equals. Not a number is above all numbers."""

    def __init__(self, least: bool) -> None:
        self._least = least

    def state(self, values: Sequence[Any]) -> State:
        return (self.value((), values),)

    def value(self, tiles: Sequence[State], values: Sequence[Any]) -> Any:
        all_values = [*(value for (value,) in tiles), *values]
        if not all_values:
            return None
        best, *others = all_values
        for value in others:
            if self._is_better(value, best):
                best = value
        return best

    def _is_better(self, value: Any, best: Any) -> bool:
        if value == value and best == best:
            return bool(value < best if self._least else value > best)
        # One is not a number: numbers are less than it, and it is no better than itself.
        return bool(best != best and value == value) if self._least else bool(best == best)


class ScalarFirst:
    def state(self, values: Sequence[Any]) -> State:
        return (values[0],)

    def value(self, tiles: Sequence[State], values: Sequence[Any]) -> Any:
        return tiles[0][0] if tiles else values[0] if values else None


class ScalarLast:
    def state(self, values: Sequence[Any]) -> State:
        return (values[-1],)

    def value(self, tiles: Sequence[State], values: Sequence[Any]) -> Any:
        return values[-1] if values else tiles[-1][0] if tiles else None


def _number(tiles: Sequence[State], values: Sequence[Any]) -> int:
    """How many values there are. The first column of a tile says how many it stands for."""
    number: int = sum(tile[0] for tile in tiles)
    return number + len(values)


def _added(terms: Sequence[float], total: float = 0.0) -> float:
    """The terms added one by one in their order: from Python 3.12 on ``sum`` adds floats in another way."""
    for term in terms:
        total += term
    return total
