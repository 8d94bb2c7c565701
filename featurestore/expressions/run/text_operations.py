"""What operators and functions of texts compute, and how long a text may become.

A text that an expression makes may have ``MAX_FACTOR`` times the bytes of the row's texts that it is made of, or
``MAX_PLUS`` bytes: a row whose text would be longer has a fault, and the text is never made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from featurestore.expressions.run.cast import UTC, fit_to
from featurestore.expressions.run.part import TEXT_FAULT, Compiler, Operation, Part, polars_type_of
from featurestore.expressions.run.time_operations import in_years
from featurestore.expressions.tree import Call
from featurestore.expressions.value_type import BOOL, INT, TEXT, TIMESTAMP, Kind, list_of

MAX_FACTOR = 8
MAX_PLUS = 4096


def _bounded(
    to: Compiler, parts: Sequence[Part], factor: int, plus: int, bytes_: pl.Expr, made: Callable[[], pl.Expr]
) -> Part:
    """A text that may be longer than its row's. ``factor``, ``plus``: the most it can have; ``bytes_``: what it has.

    Parts must be bound. Where the most is within the bound, nothing is counted.
    """
    if factor <= MAX_FACTOR and plus <= MAX_PLUS:
        return to.make(made(), TEXT, parts, factor=factor, plus=plus)
    lengths = dict(text for part in parts for text in part.texts).values()
    own = pl.sum_horizontal(pl.lit(0, pl.Int64), *(length.cast(pl.Int64) for length in lengths))
    allowed = pl.max_horizontal(pl.lit(MAX_PLUS, pl.Int64), MAX_FACTOR * own)
    fits = to.bind(to.make((bytes_.cast(pl.Int64) <= allowed).fill_null(True), BOOL, parts))
    part = to.make(
        pl.when(fits.expression).then(made()), TEXT, [*parts, fits], factor=MAX_FACTOR, plus=MAX_PLUS
    )
    own_faults = tuple(fault for one in parts for fault in one.faults)
    return replace(part, faults=(*own_faults, (~fits.expression, TEXT_FAULT)))


def _text(function: Callable[[pl.Expr], pl.Expr]) -> Operation:
    """A text of at most the same length."""

    def run(to: Compiler, call: Call, parts: list[Part]) -> Part:
        part = to.to(parts[0], TEXT)
        return to.make(function(part.expression), TEXT, [part], factor=part.factor, plus=part.plus)

    return run


def _length(function: Callable[[pl.Expr], pl.Expr]) -> Operation:
    def run(to: Compiler, call: Call, parts: list[Part]) -> Part:
        part = to.to(parts[0], TEXT)
        return to.make(function(part.expression).cast(pl.Int64), INT, [part], low=0, high=2**40)

    return run


def _with_constants(function: Callable[..., pl.Expr]) -> Operation:
    """A text of at most the same length, by constants of the spec."""

    def run(to: Compiler, call: Call, parts: list[Part]) -> Part:
        part = to.to(parts[0], TEXT)
        made = function(part.expression, *(_value(one) for one in parts[1:]))
        return to.make(made, TEXT, [part], factor=part.factor, plus=part.plus)

    return run


def _padded(to: Compiler, call: Call, parts: list[Part]) -> Part:
    width, fill = _value(parts[1]), _value(parts[2]) if len(parts) > 2 else " "
    part = to.to(parts[0], TEXT)
    text = part.expression.str
    padded = text.pad_start(width, fill) if call.name == "LPAD" else text.pad_end(width, fill)
    made = to.make(padded.str.head(width), TEXT, [part])
    return replace(made, factor=0, plus=4 * width)


def _substring(text: pl.Expr, start: int, length: int | None = None) -> pl.Expr:
    offset = max(start - 1, 0)
    if length is None:
        return text.str.slice(offset)
    return text.str.slice(offset, max(0, start - 1 + length - offset))


def _search(function: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> Operation:
    def run(to: Compiler, call: Call, parts: list[Part]) -> Part:
        left, right = (to.to(part, TEXT) for part in parts)
        return to.make(function(left.expression, right.expression), BOOL, [left, right])

    return run


def _like(to: Compiler, call: Call, parts: list[Part]) -> Part:
    part = to.to(parts[0], TEXT)
    pattern = _value(parts[1])
    body = "".join({"%": ".*", "_": "."}.get(letter) or re.escape(letter) for letter in pattern)
    return to.make(part.expression.str.contains(f"(?s{call.detail})^{body}$"), BOOL, [part])


def _matches(to: Compiler, call: Call, parts: list[Part]) -> Part:
    part = to.to(parts[0], TEXT)
    pattern = ("(?i)" if call.detail else "") + _value(parts[1])
    return to.make(part.expression.str.contains(pattern), BOOL, [part])


def _replaced(to: Compiler, call: Call, parts: list[Part]) -> Part:
    old, new = _value(parts[1]), _value(parts[2])
    part = to.to(parts[0], TEXT)
    if old == "":
        return part
    part = to.bind(part)
    text = part.expression
    more = len(new.encode()) - len(old.encode())
    count = text.str.count_matches(old, literal=True).cast(pl.Int64)
    times = max(1, -(-len(new.encode()) // len(old.encode())))
    # `replace_all` would read some replacements as patterns.
    return _bounded(
        to,
        [part],
        part.factor * times,
        part.plus * times,
        text.str.len_bytes().cast(pl.Int64) + more * count,
        lambda: text.str.split(old).list.join(new),
    )


def _regex_replaced(to: Compiler, call: Call, parts: list[Part]) -> Part:
    pattern, new = _value(parts[1]), _value(parts[2])
    groups = len(re.findall(r"\\\d", new))
    value = re.sub(r"\\(\d)", r"${\1}", new.replace("$", "$$"))
    part = to.bind(to.to(parts[0], TEXT))
    text = part.expression
    length = len(new.encode())
    return _bounded(
        to,
        [part],
        part.factor * (1 + groups),
        part.plus * (1 + groups) + length,
        text.str.len_bytes().cast(pl.Int64) * (1 + groups) + length,
        lambda: text.str.replace(pattern, value),
    )


def _split_part(text: pl.Expr, separator: str, place: int) -> pl.Expr:
    index = place - 1 if place > 0 else place
    return text.str.split(separator).list.get(index, null_on_oob=True)


def _piece(to: Compiler, call: Call, parts: list[Part]) -> Part:
    part = to.bind(to.to(parts[0], TEXT))
    text = part.expression
    piece = _split_part(text, _value(parts[1]), _value(parts[2])).fill_null("")
    made = pl.when(text.is_not_null()).then(piece)
    return to.make(made, TEXT, [part], factor=part.factor, plus=part.plus)


def _joined(to: Compiler, call: Call, parts: list[Part]) -> Part:
    """Texts as one: ``||`` is null where one is, the functions pass over nulls."""
    separator = _value(parts[0]) if call.name == "CONCAT_WS" else ""
    texts = [to.bind(to.to(part, TEXT)) for part in (parts[1:] if call.name == "CONCAT_WS" else parts)]
    expressions = [part.expression for part in texts]
    between = len(separator.encode()) * (len(texts) - 1)
    lengths = pl.sum_horizontal(*(text.str.len_bytes().cast(pl.Int64).fill_null(0) for text in expressions))
    return _bounded(
        to,
        texts,
        sum(part.factor for part in texts),
        sum(part.plus for part in texts) + between,
        lengths + between,
        lambda: pl.concat_str(*expressions, separator=separator, ignore_nulls=call.name != "||"),
    )


def _split(to: Compiler, call: Call, parts: list[Part]) -> Part:
    part = to.to(parts[0], TEXT)
    made = part.expression.str.split(_value(parts[1]))
    return to.make(made, list_of(TEXT), [part], factor=part.factor, plus=part.plus)


def _list_joined(to: Compiler, call: Call, parts: list[Part]) -> Part:
    items = to.bind(parts[0])
    separator, null = _value(parts[1]), _value(parts[2]) if len(parts) > 2 else None
    filled = items.expression
    if null is not None:
        filled = filled.list.eval(pl.element().fill_null(null))
    longest = len(separator.encode()) + len((null or "").encode())
    lengths = filled.list.eval(pl.element().str.len_bytes().cast(pl.Int64)).list.sum()
    return _bounded(
        to,
        [items],
        max(items.factor, 1) * (1 + longest),
        items.plus * (1 + longest),
        lengths + filled.list.len().cast(pl.Int64) * len(separator.encode()),
        lambda: filled.list.join(separator, ignore_nulls=True),
    )


_NAMED: dict[str, pl.DataType] = {
    "TINYINT": pl.Int8(),
    "SMALLINT": pl.Int16(),
    "INT": pl.Int32(),
    "FLOAT": pl.Float32(),
    "REAL": pl.Float32(),
}


def _cast(to: Compiler, call: Call, parts: list[Part]) -> Part:
    """The value in another type where that gives it back unchanged, else null."""
    part = parts[0]
    target = _NAMED.get(call.detail, polars_type_of(call.type))
    if part.type.kind is Kind.NULL:
        return to.to(part, call.type)
    if part.type.kind is Kind.TIMESTAMP and call.type.kind in (Kind.TEXT, Kind.DATE):
        part = in_years(to, part)
    if part.type.kind is Kind.DATE and call.type.kind is Kind.TEXT:
        part = in_years(to, to.to(part, TIMESTAMP))
        return to.make(part.expression.dt.strftime("%Y-%m-%d"), TEXT, [part], factor=0, plus=16)
    if part.type.kind is call.type.kind and call.detail not in _NAMED:
        return part
    source: pl.DataType = UTC if part.type.kind is Kind.TIMESTAMP else polars_type_of(part.type)
    if part.raw is not None and isinstance(part.dtype, pl.Decimal):
        # As it is in the frame: what is computed in is a float64, or within int64.
        source = part.dtype
        part = replace(part, expression=part.raw, size=1, faults=())
    part = to.bind(part)
    fitted = fit_to(part.expression, source, target)
    assert fitted is not None, (source, target)
    value = fitted.value if fitted.fits is None else pl.when(fitted.fits).then(fitted.value)
    made = to.make(value, call.type, [part, part, part], named=target if call.detail in _NAMED else None)
    if call.type.kind is Kind.TEXT:
        return replace(made, factor=0, plus=40)
    if call.type.kind in (Kind.INT, Kind.FLOAT):
        made = replace(made, expression=made.expression.cast(polars_type_of(call.type)))
    return made


def _value(part: Part) -> Any:
    assert part.constant is not None
    return part.constant.value


TEXT_OPERATIONS: dict[str, Operation] = {
    "||": _joined,
    "LIKE": _like,
    "~": _matches,
    "TRY_CAST": _cast,
    "LOWER": _text(lambda text: text.str.to_lowercase()),
    "UPPER": _text(lambda text: text.str.to_uppercase()),
    "INITCAP": _text(lambda text: text.str.to_titlecase()),
    "REVERSE": _text(lambda text: text.str.reverse()),
    "LENGTH": _length(lambda text: text.str.len_chars()),
    "OCTET_LENGTH": _length(lambda text: text.str.len_bytes()),
    "BIT_LENGTH": _length(lambda text: text.str.len_bytes().cast(pl.Int64) * 8),
    "TRIM": _text(lambda text: text.str.strip_chars()),
    "LTRIM": _with_constants(lambda text, letters=None: text.str.strip_chars_start(letters)),
    "RTRIM": _with_constants(lambda text, letters=None: text.str.strip_chars_end(letters)),
    "LEFT": _with_constants(lambda text, count: text.str.head(count)),
    "RIGHT": _with_constants(lambda text, count: text.str.tail(count)),
    "LPAD": _padded,
    "RPAD": _padded,
    "SUBSTR": _with_constants(_substring),
    "STARTS_WITH": _search(lambda text, prefix: text.str.starts_with(prefix)),
    "ENDS_WITH": _search(lambda text, suffix: text.str.ends_with(suffix)),
    "REGEXP_REPLACE": _regex_replaced,
    "REPLACE": _replaced,
    "SPLIT_PART": _piece,
    "CONCAT": _joined,
    "CONCAT_WS": _joined,
    "STRING_TO_ARRAY": _split,
    "ARRAY_TO_STRING": _list_joined,
}
