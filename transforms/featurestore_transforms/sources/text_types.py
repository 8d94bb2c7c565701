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

from collections.abc import Mapping, Sequence

import polars as pl

from featurestore.expressions.run.cast import fit_to, polars_type
from featurestore.expressions.run.spelling import WHOLE
from featurestore.resources.value import ColumnType

_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:"
_FIRST_ROWS = 1000
_KINDS = (ColumnType.INT64, ColumnType.FLOAT64, ColumnType.BOOL, ColumnType.DATE, ColumnType.TIMESTAMP)


def kinds(texts: pl.LazyFrame) -> Mapping[str, pl.DataType]:
    """Column to type, over all rows: 100 whole numbers and then `1.5` are float64, and with `x` string.

    ``texts``: ``frame[<columns>: str]``
    """
    # The first rows say what to look for in all of them. What fails there gives way to the next kind.
    left = {name: list(_KINDS) for name in texts.collect_schema()}
    for name, passed in _passed(texts.head(_FIRST_ROWS), left).items():
        left[name] = passed or []
    known: dict[str, pl.DataType] = {}
    while left:
        for name, passed in _passed(texts, {name: some[:1] for name, some in left.items()}).items():
            if passed is None:
                known[name] = pl.Null()
            elif passed or not left[name]:
                known[name] = polars_type(passed[0]) if passed else pl.String()
            else:
                left[name] = left[name][1:]
        left = {name: some for name, some in left.items() if name not in known}
    return known


def _passed(
    texts: pl.LazyFrame, wanted: Mapping[str, Sequence[ColumnType]]
) -> Mapping[str, list[ColumnType] | None]:
    """Column to those of its kinds that all of its texts are of; None if there is no text."""
    tests = {f"{k}:{name}": _are(pl.col(name), k) for name, some in wanted.items() for k in some}
    counts = {f"count:{name}": pl.col(name).count() for name in wanted}
    if not wanted:
        return {}
    [answer] = texts.select(**tests, **counts).collect(engine="streaming").to_dicts()
    return {
        name: [k for k in some if answer[f"{k}:{name}"]] if answer[f"count:{name}"] else None
        for name, some in wanted.items()
    }


def _are(text: pl.Expr, kind: ColumnType) -> pl.Expr:
    """Whether all texts are of the kind."""
    found = fit_to(text, pl.String(), polars_type(kind), exact=True)
    assert found is not None
    assert found.fits is not None
    alike = found.fits.all()
    if kind is ColumnType.TIMESTAMP:
        return alike & text.str.contains(_TIME).all()
    if kind in (ColumnType.INT64, ColumnType.FLOAT64):
        # Of `1` and `1.0` side by side, a number could give back only one.
        pointed, whole = text.str.ends_with(".0").any(), text.str.contains(WHOLE).any()
        return alike & ~(pointed if kind is ColumnType.INT64 else pointed & whole)
    return alike
