"""Which type texts are of: the narrowest that all of them are texts of, and that gives each of them back.

| all texts are | type |
|---|---|
| whole numbers without leading zeros, in 64 bits | int64 |
| numbers; whole ones up to 2^53 | float64 |
| `true` or `false` | bool |
| days as `2013-01-31` | date |
| days and times in ISO 8601 | timestamp |
| something else, such as `007` | string |
| not there at all | not known yet |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from featurestore.resources.value import ColumnType
from featurestore_transforms.casting.cast import fit, polars_type

_WHOLE = r"^(?:0|-?[1-9][0-9]{0,18})$"
_NUMBER = (
    r"^[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
    r"|^(?:NaN|nan|[+-]?(?:inf|Infinity))$"
)
_WORD = r"^(?:true|false|True|False|TRUE|FALSE)$"
_DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:"
_EXACT = 2**53
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
    tests = {f"{k}:{name}": _is(pl.col(name), k).all() for name, some in wanted.items() for k in some}
    counts = {f"count:{name}": pl.col(name).count() for name in wanted}
    if not wanted:
        return {}
    [answer] = texts.select(**tests, **counts).collect(engine="streaming").to_dicts()
    return {
        name: [k for k in some if answer[f"{k}:{name}"]] if answer[f"count:{name}"] else None
        for name, some in wanted.items()
    }


def _is(text: pl.Expr, kind: ColumnType) -> pl.Expr:
    """Whether the text is of the kind; null for null."""
    match kind:
        case ColumnType.INT64:
            return text.str.contains(_WHOLE) & (
                text.cast(pl.Int64, strict=False).is_not_null() | text.is_null()
            )
        case ColumnType.FLOAT64:
            # A whole number that a float cannot hold would be another number afterwards.
            exact = text.cast(pl.Int64, strict=False).is_between(-_EXACT, _EXACT).fill_null(False)
            return text.str.contains(_NUMBER) & (~text.str.contains(_WHOLE) | exact)
        case ColumnType.BOOL:
            return text.str.contains(_WORD)
        case ColumnType.DATE:
            return text.str.contains(_DAY) & _fits(text, kind)
        case _:
            return text.str.contains(_TIME) & _fits(text, kind)


def _fits(text: pl.Expr, wanted: ColumnType) -> pl.Expr:
    found = fit(text, pl.String(), wanted)
    assert found is not None
    assert found.fits is not None
    return found.fits
