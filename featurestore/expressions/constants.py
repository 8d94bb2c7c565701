"""Constants of expressions: what their texts mean, exact arithmetic between them, and arguments that are out of bounds."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime

from featurestore.expressions.dialect import DialectError
from featurestore.expressions.signature import MAX_DIGITS, MAX_PAD
from featurestore.expressions.tree import Constant, Interval, Node, Value
from featurestore.expressions.value_type import FLOAT, INT, Kind

FIRST_INTEGER, LAST_INTEGER = -(2**63), 2**63 - 1
MAX_CONSTANT = 1024
"""Characters of a text that an argument such as a pattern may have."""
_MAX_REPEATS = 1000
_MAX_YEARS = 10_000

_MONTHS = {"month": 1, "quarter": 3, "year": 12}
_MICROSECONDS = {
    "microsecond": 1,
    "millisecond": 1_000,
    "second": 1_000_000,
    "minute": 60_000_000,
    "hour": 3_600_000_000,
    "day": 86_400_000_000,
    "week": 604_800_000_000,
}
_PIECE = re.compile(r"(\d{1,18}) ([a-z]+?)s?(?: |$)")
_FINER = re.compile(r"[.,]\d{6}0*[1-9]")
"""A fraction that ends below the microsecond, which Python would cut."""
TRUNCATED = frozenset(("year", "quarter", "month", "week", "day", "hour", "minute", "second"))
_FORMAT = re.compile(r"(?:[^%]|%[YmdHMSfjybBaAeIpuwUWVGFTsz%])*")
_REPEAT = re.compile(r"(?<!\\)\{(\d*)(?:,(\d*))?\}")


def number(text: str) -> int | float:
    """The number of a literal: whole without a point or an exponent.

    >>> number("60"), number("60.0"), number("1e3")
    (60, 60.0, 1000.0)
    """
    return int(text) if text.isdigit() else float(text)


def within_float(text: str) -> bool:
    """Whether the literal is a number that a float64 comes near to: not beyond all of them, nor nearer to 0.

    >>> within_float("1e308"), within_float("1e400"), within_float("1e-400"), within_float("0e-400")
    (True, False, False, True)
    """
    digits = text.lower().partition("e")[0].strip("0.")
    return math.isfinite(float(text)) and (float(text) != 0 or not digits)


def interval(text: str) -> Interval | None:
    """The interval of a text; None if the text is not an interval.

    >>> interval("1 day 2 hours")
    Interval(months=0, microseconds=93600000000)
    """
    months = microseconds = end = 0
    for piece in _PIECE.finditer(text):
        count, unit = int(piece[1]), piece[2]
        if piece.start() != end or unit not in (*_MONTHS, *_MICROSECONDS):
            return None
        months += count * _MONTHS.get(unit, 0)
        microseconds += count * _MICROSECONDS.get(unit, 0)
        end = piece.end()
    if end != len(text) or not text or months > 12 * _MAX_YEARS:
        return None
    return Interval(months, microseconds) if microseconds <= LAST_INTEGER else None


def time_literal(text: str, kind: str) -> date | datetime | None:
    """The date or the UTC time of a literal; None if the text is neither. Without an offset it is UTC.

    >>> time_literal("2100-01-01 00:00:00", "TIMESTAMP")
    datetime.datetime(2100, 1, 1, 0, 0, tzinfo=datetime.timezone.utc)
    """
    if _FINER.search(text):
        return None
    try:
        if kind == "DATE":
            day = date.fromisoformat(text)
            return day if day.isoformat() == text else None
        moment = datetime.fromisoformat(text)
        if len(text) < len("2013-01-31 10:00:00") or (moment.tzinfo is None) == (kind == "TIMESTAMPTZ"):
            return None
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def fold(name: str, arguments: tuple[Constant, ...]) -> Constant | None:
    """The exact, unbounded result of integer constants; None if the engine has to compute it.

    >>> fold("*", (Constant(2**62, INT), Constant(4, INT))).value == 2**64
    True
    """
    values = [argument.value for argument in arguments]
    if not all(type(value) is int for value in values):
        return _fold_real(name, values)
    whole = [value for value in values if isinstance(value, int)]
    match name, whole:
        case "+", [a, b]:
            return Constant(a + b, INT)
        case "-", [a, b]:
            return Constant(a - b, INT)
        case "*", [a, b]:
            return Constant(a * b, INT)
        case "//" | "%", [_, 0]:
            return Constant(None, INT)
        case "//", [a, b]:
            return Constant(_quotient(a, b), INT)
        case "%", [a, b]:
            return Constant(a - b * _quotient(a, b), INT)
        case "NEG", [a]:
            return Constant(-a, INT)
        case "ABS", [a]:
            return Constant(abs(a), INT)
        case "POW", [a, b] if 0 <= b <= 64 or (b > 64 and a in (-1, 0, 1)):
            return Constant(a**b, INT)
        case "POW", [a, b] if b > 64:
            return Constant(a**65, INT)
        case "/", [_, _]:
            return _fold_real(name, values)
    return None


def _fold_real(name: str, values: list[Value]) -> Constant | None:
    """The result of constants of which one is a float64; None unless it is finite."""
    if name not in ("+", "-", "*", "/", "NEG") or not all(type(value) in (int, float) for value in values):
        return None
    try:
        real = [float(value) for value in values if isinstance(value, (int, float))]
    except OverflowError:
        return None
    match name, real:
        case "+", [a, b]:
            made = a + b
        case "-", [a, b]:
            made = a - b
        case "*", [a, b]:
            made = a * b
        case "/", [a, b]:
            if b == 0:
                return Constant(None, FLOAT)
            made = a / b
        case _:
            made = -real[0]
    return Constant(made, FLOAT) if math.isfinite(made) else None


def _quotient(a: int, b: int) -> int:
    whole = abs(a) // abs(b)
    return whole if (a < 0) == (b < 0) else -whole


def check_call(name: str, arguments: Sequence[Node]) -> DialectError | None:
    """What is wrong with the constants of a call: they are where a spec could ask for too much."""
    values = [one.value if isinstance(one, Constant) else None for one in arguments]
    if any(isinstance(value, Interval) and value.months for value in values):
        beside = [
            one for one in arguments if not isinstance(one, Constant) or not isinstance(one.value, Interval)
        ]
        times = (Kind.TIMESTAMP, Kind.DATE, Kind.ANY, Kind.NULL)
        if name not in ("+", "-") or not beside or beside[0].type.kind not in times:
            return DialectError(
                "months and years have no fixed length",
                "an interval of months",
                "Add it to a time, or write it in days",
            )
    if name in ("LPAD", "RPAD"):
        width, fill = values[1], values[2] if len(values) > 2 else " "
        if isinstance(width, int) and not 0 <= width <= MAX_PAD:
            return DialectError(f"{name} takes a length of 0 to {MAX_PAD}", str(width))
        if isinstance(fill, str) and len(fill) != 1:
            return DialectError(f"{name} pads with a single character", repr(fill))
    if name in ("ROUND", "TRUNC") and len(values) > 1:
        digits = values[1]
        if isinstance(digits, int) and not 0 <= digits <= MAX_DIGITS:
            return DialectError(f"{name} takes 0 to {MAX_DIGITS} decimal places", str(digits))
    if name in _BOUNDED:
        for value in values[_BOUNDED[name] :]:
            if isinstance(value, str) and len(value) > MAX_CONSTANT:
                return DialectError(
                    f"{name} takes strings of at most {MAX_CONSTANT} characters", f"{len(value)} characters"
                )
    if name in ("SUBSTR", "LEFT", "RIGHT"):
        for value in values[1:]:
            if isinstance(value, int) and abs(value) >= 2**31:
                return DialectError(f"{name} takes positions up to {2**31 - 1}", str(value))
    if name == "SUBSTR" and len(values) > 2 and isinstance(values[2], int) and values[2] < 0:
        return DialectError("SUBSTR takes a length of 0 or more", str(values[2]))
    if name == "SPLIT_PART" and values[2] == 0:
        return DialectError("SPLIT_PART counts from 1", "0", "Or from the end: -1 is the last")
    if name in ("~", "REGEXP_REPLACE") and isinstance(values[1], str):
        return _check_pattern(values[1])
    if name == "DATE_TRUNC" and str(values[0]).lower() not in TRUNCATED:
        return DialectError(
            "unknown part of a time", str(values[0]), f"There are: {', '.join(sorted(TRUNCATED))}"
        )
    if name in ("STRING_TO_ARRAY", "SPLIT_PART") and values[1] == "":
        return DialectError(f"{name} takes a separator", "''")
    if name == "TRY_STRPTIME" and not _holds_a_day(str(values[1])):
        return DialectError(
            "the format has no complete date", repr(values[1]), "It needs a year, a month and a day: %Y-%m-%d"
        )
    if name in ("STRFTIME", "TRY_STRPTIME") and not _FORMAT.fullmatch(str(values[1])):
        return DialectError(
            "unknown part of a format", repr(values[1]), "See docs/expressions.md for those there are"
        )
    return None


def _holds_a_day(form: str) -> bool:
    parts = set(re.findall("%(.)", form))
    return bool(parts & {"F", "s"}) or bool(
        parts & {"Y", "y"} and ("j" in parts or (parts & {"m", "b", "B"} and parts & {"d", "e"}))
    )


_BOUNDED = {"LIKE": 1, "~": 1, "REGEXP_REPLACE": 1, "REPLACE": 1, "SPLIT_PART": 1, "STRING_TO_ARRAY": 1,
            "ARRAY_TO_STRING": 1, "STRFTIME": 1, "TRY_STRPTIME": 1, "CONCAT_WS": 0}  # fmt: skip
"""Function to the first of its arguments that are bounded texts of the spec."""


def _check_pattern(pattern: str) -> DialectError | None:
    """A counted repetition is written out when a pattern is compiled, and one inside another multiplies."""
    product = 1
    for low, high in _REPEAT.findall(pattern):
        product *= max(int(low or 0), int(high or 0), 1)
        if product > _MAX_REPEATS:
            return DialectError(
                f"a pattern repeats at most {_MAX_REPEATS} times, all its counts multiplied",
                repr(pattern),
                "Write + or *",
            )
    try:
        re.compile(pattern)
    except re.error as error:
        if error.msg.startswith(_WRONG_IN_EVERY_DIALECT):
            return DialectError("this is not a regular expression", repr(pattern), error.msg)
    return None


_WRONG_IN_EVERY_DIALECT = (
    "unterminated character set",
    "missing ), unterminated",
    "unbalanced parenthesis",
    "nothing to repeat",
)
