"""Texts that a type gives back: the only ones that become its values where nobody declared the type.

| type | texts that it gives back | texts that it does not |
|---|---|---|
| integers | `0`, `-7`, `7.0` (as float writers spell 7) | `07`, `+7`, `-0`, `7.00`, `7e0`, ` 7` |
| floats | `1.5`, `7`, `7.0`, `1e-05`, `NaN`, `inf` | `1.50`, `+1.5`, `.5`, `1e5`, more digits than it holds |
| bool | `true`, `false` | `True`, `1`, `yes` |
| date | `2013-01-31` | `2013-1-31`, `2013-01-31T00:00Z` |
| timestamp | days, and days with times, in ISO 8601: the same moment | fractions that end below the microsecond |
| string | all | |
"""

from __future__ import annotations

import polars as pl

WHOLE = r"^(?:0|-?[1-9][0-9]{0,18})$"
_INTEGER = r"^(?:0|-?[1-9][0-9]{0,18})(?:\.0)?$"
_FLOAT = (
    r"^-?(?:0|[1-9][0-9]{0,15})(?:\.(?:0|[0-9]*[1-9]))?$"
    # Where Python, Rust and Java begin to write exponents, as Python writes them.
    r"|^-?[1-9](?:\.[0-9]*[1-9])?e(?:-0[5-9]|-[1-9][0-9]{1,2}|\+1[6-9]|\+[2-9][0-9]|\+[1-3][0-9]{2})$"
    r"|^(?:NaN|nan|-?inf)$"
)
_DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"


def gives_back(text: pl.Expr, target: pl.DataType) -> pl.Expr:
    """Whether a value of the type, written down, is the text again: bool, null for null.

    For texts that the type can be made from at all.

    >>> texts = pl.Series(["7", "07", "1.10", "1.1", "1e5"])
    >>> pl.select(gives_back(pl.lit(texts), pl.Float64())).to_series().to_list()
    [True, False, False, True, False]
    """
    if target.is_integer():
        return text.str.contains(_INTEGER)
    if target.is_float():
        back = text.cast(target, strict=False).cast(pl.String)
        # Most are written as Polars writes them. Others may be so with another exponent, or without a point.
        other = pl.when(back != text).then(text)
        same = (back == text) | (_digits(other) == _digits(pl.when(back != text).then(back)))
        return text.str.contains(_FLOAT) & (same.fill_null(False) | text.is_null())
    if target == pl.Boolean():
        return text.is_in(["true", "false"])
    if target == pl.Date():
        return text.str.contains(_DAY)
    if isinstance(target, pl.Decimal):
        return text == text.cast(target, strict=False).cast(pl.String)
    return pl.when(text.is_not_null()).then(True)


def _digits(number: pl.Expr) -> pl.Expr:
    """The digits that matter: `-0.0120` and `1.2e-02` have the same."""
    digits = number.str.replace("e.*$", "").str.replace_all("[-.]", "")
    return digits.str.strip_chars_start("0").str.strip_chars_end("0")
