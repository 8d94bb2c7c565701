"""Which type texts are of: the narrowest that all of them are texts of, and that gives each of them back.

| all texts are | type |
|---|---|
| whole numbers in 64 bits, as `7` | int64 |
| numbers as float64 gives them back, as `1.5`; whole ones all with `.0` or all without | float64 |
| `true` or `false` | bool |
| days as `2013-01-31` | date |
| days and times in ISO 8601 | timestamp |
| something else, such as `007`, `1.10`, `1e5`, `True` | string |
| not there at all | not known yet |

What exactly is given back, says ``expressions/run/spelling.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from featurestore.expressions.run.cast import fit_to, polars_type
from featurestore.expressions.run.spelling import WHOLE
from featurestore.resources.value import ColumnType

_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:"
_FIRST_ROWS = 1000
_KINDS = (ColumnType.INT64, ColumnType.FLOAT64, ColumnType.BOOL, ColumnType.DATE, ColumnType.TIMESTAMP)
_EXACT_DIGITS = 15
"""Whole numbers of so many characters are given back by float64, too."""
_AT_ONCE = 1 << 18
"""So many texts are looked at together, of as many columns as that is."""


def kinds(names: Iterable[str], frames: Iterable[pl.DataFrame]) -> Mapping[str, pl.DataType]:
    """Column to type, over all rows: 100 whole numbers and then `1.5` are float64, and with `x` string.

    ``frames``: ``frame[<names>: str]``, the rows piece by piece; they may have other columns, too.
    """
    columns = {name: _Texts() for name in names}
    for frame in frames:
        # The first rows say what to look for in all of them.
        for rows in (frame.head(_FIRST_ROWS), frame.slice(_FIRST_ROWS)):
            if rows.height:
                _narrow(rows, columns)
        if not any(texts.left for texts in columns.values()):
            break
    return {name: texts.dtype() for name, texts in columns.items()}


@dataclass(slots=True)
class _Texts:
    """What is known of the texts of a column. ``left``: kinds that all of them are of.

    ``whole``: one is a whole number without a point. ``pointed``: one ends with `.0`.
    """

    left: list[ColumnType] = field(default_factory=lambda: list(_KINDS))
    some: bool = False
    whole: bool = False
    pointed: bool = False

    def dtype(self) -> pl.DataType:
        if not self.some:
            return pl.Null()
        # Of `1` and `1.0` side by side, a number could give back only one.
        barred = {ColumnType.INT64: self.pointed, ColumnType.FLOAT64: self.pointed and self.whole}
        return next((polars_type(kind) for kind in self.left if not barred.get(kind)), pl.String())


def _narrow(frame: pl.DataFrame, columns: Mapping[str, _Texts]) -> None:
    """Take from each column the kinds that a text of this piece is not of."""
    present = [name for name in columns if frame[name].null_count() < frame.height]
    for name in present:
        columns[name].some = True
    sure: set[str] = set()
    for kind in _KINDS:
        wanted = [name for name in present if kind in columns[name].left]
        if kind is ColumnType.FLOAT64:
            wanted = [name for name in wanted if name not in sure]
        size = max(1, _AT_ONCE // frame.height)
        for names in (wanted[at : at + size] for at in range(0, len(wanted), size)):
            for name, look in zip(names, _look(frame, names, kind), strict=True):
                texts = columns[name]
                texts.whole |= look.get("whole", False)
                texts.pointed |= look.get("pointed", False)
                if not look["alike"]:
                    texts.left.remove(kind)
                elif look.get("short", False):
                    sure.add(name)


def _look(frame: pl.DataFrame, names: Sequence[str], kind: ColumnType) -> list[dict[str, bool]]:
    """Of each column, whether all of its texts are of the kind, and what else it takes to tell."""
    text = pl.col("text")
    fitted = fit_to(text, pl.String(), polars_type(kind), exact=True)
    assert fitted is not None
    assert fitted.fits is not None
    alike = fitted.fits
    every, any_of = {"alike": alike}, {}
    if kind is ColumnType.TIMESTAMP:
        every["alike"] = alike & text.str.contains(_TIME)
    if kind in (ColumnType.INT64, ColumnType.FLOAT64):
        any_of = {"pointed": text.str.ends_with(".0"), "whole": text.str.contains(WHOLE)}
    if kind is ColumnType.INT64:
        every["short"] = text.str.len_bytes() <= _EXACT_DIGITS
    # One long column instead of many: engines take time for each column of a query.
    stacked = pl.concat([frame[name].alias("text") for name in names]).to_frame()
    shape = (len(names), frame.height)
    flags = stacked.lazy().select(**every, **any_of).collect(engine="streaming")
    measures = {
        name: values.arr.any() if name in any_of else values.arr.all()
        for name in flags.columns
        for values in [flags[name].reshape(shape)]
    }
    return pl.DataFrame(measures).to_dicts()
