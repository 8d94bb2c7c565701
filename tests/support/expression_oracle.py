"""Random expressions of every type, each with what it means in plain Python: exact integers, None for null, Fault."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

FIRST, LAST = -(2**63), 2**63 - 1
Row = Mapping[str, Any]


class Fault(Exception):
    """The row's value cannot be had."""


@dataclass(frozen=True)
class Meant:
    """A text, and what it gives of a row."""

    text: str
    of: Callable[[Row], Any]


COLUMNS: dict[str, list[Any]] = {
    "i": [0, 1, -1, 7, -8, LAST, FIRST, 2**53 + 1, 2**62, None],
    "j": [2, 0, -3, 63, FIRST, LAST, 3037000500, None],
    "x": [0.0, -0.0, 1.5, -2.5, math.nan, math.inf, -math.inf, 1e308, 5e-324, 2.0**53, 2.0**63, None],
    "y": [1.0, 0.5, -0.0, 3.0, math.nan, -1e-7, None],
    "s": ["", "a", "ab", "été", "a%b_", "-1", "12", "aaa", "N14228 ", None],
    "u": ["a", "", "b", "é", "1.5", None],
    "b": [True, False, None],
    "c": [False, None, True],
    "t": [
        datetime(2013, 1, 31, 10, 20, 30, 123456, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC), None,
    ],
    "d": [date(2013, 1, 31), date(1, 1, 1), date(9999, 12, 31), date(2024, 2, 29), None],
}  # fmt: skip
_KINDS = {"i": "int", "j": "int", "x": "float", "y": "float", "s": "text", "u": "text", "b": "bool", "c": "bool",
          "t": "time", "d": "date"}  # fmt: skip


def rows(chance: random.Random, count: int) -> dict[str, list[Any]]:
    return {name: [chance.choice(values) for _ in range(count)] for name, values in COLUMNS.items()}


def fit(value: int) -> int:
    if not FIRST <= value <= LAST:
        raise Fault
    return value


def strict(function: Callable[..., Any], *parts: Meant) -> Callable[[Row], Any]:
    """Null where a part is; every part is asked for."""

    def of(row: Row) -> Any:
        values = [part.of(row) for part in parts]
        return None if any(value is None for value in values) else function(*values)

    return of


def order(value: Any) -> Any:
    """NaN is the greatest, whole numbers and floats compare exactly."""
    if isinstance(value, bool):
        return (int(value),)
    if isinstance(value, float) and value != value:
        return (1, 0)
    if isinstance(value, (int, float)):
        return (0, value)
    if isinstance(value, date) and not isinstance(value, datetime):
        return (datetime(value.year, value.month, value.day, tzinfo=UTC),)
    return (value.encode() if isinstance(value, str) else value,)


COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: order(a) == order(b),
    "<>": lambda a, b: order(a) != order(b),
    "<": lambda a, b: order(a) < order(b),
    "<=": lambda a, b: order(a) <= order(b),
    ">": lambda a, b: order(a) > order(b),
    ">=": lambda a, b: order(a) >= order(b),
}


def quotient(a: int, b: int) -> int | None:
    if b == 0:
        return None
    whole = abs(a) // abs(b)
    return fit(whole if (a < 0) == (b < 0) else -whole)


def widened(value: int) -> float:
    """The whole number as a float, which has to hold it."""
    if int(float(value)) != value:
        raise Fault
    return float(value)


def remainder(a: int, b: int) -> int | None:
    return None if b == 0 else (abs(a) % abs(b)) * (-1 if a < 0 else 1)


def truncated(x: float) -> float:
    return x if not math.isfinite(x) else math.copysign(float(abs(int(x))), x)


def real_remainder(a: float, b: float) -> float | None:
    return None if b == 0 else a - b * truncated(a / b)


def rounded(x: float) -> float:
    if not math.isfinite(x) or abs(x) >= 2.0**52:
        return x
    whole = math.floor(abs(x))
    return math.copysign(float(whole + (abs(x) - whole >= 0.5)), x)


def whole(function: Callable[[float], int]) -> Callable[[float], float]:
    return lambda x: x if not math.isfinite(x) or x == 0 else math.copysign(float(function(x)), x)


def power(base: int, exponent: int) -> int:
    return fit(base**exponent)


def like(text: str, pattern: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "%":
        return any(like(text[n:], pattern[1:]) for n in range(len(text) + 1))
    return bool(text) and pattern[0] in ("_", text[0]) and like(text[1:], pattern[1:])


def shifted(moment: datetime, span: timedelta) -> datetime:
    try:
        return moment + span
    except OverflowError:
        raise Fault from None


def as_time(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    return datetime(value.year, value.month, value.day, tzinfo=UTC)


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(moment: Any) -> int:
    return (as_time(moment) - EPOCH) // timedelta(microseconds=1)


PARTS: dict[str, Callable[[datetime], int]] = {
    "YEAR": lambda t: t.year,
    "QUARTER": lambda t: (t.month + 2) // 3,
    "MONTH": lambda t: t.month,
    "WEEK": lambda t: t.isocalendar().week,
    "DAY": lambda t: t.day,
    "HOUR": lambda t: t.hour,
    "MINUTE": lambda t: t.minute,
    "SECOND": lambda t: t.second,
    "DOW": lambda t: t.isoweekday() % 7,
    "ISODOW": lambda t: t.isoweekday(),
    "DOY": lambda t: t.timetuple().tm_yday,
}


class Grower:
    """Grows expressions, with ``chance``."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    def grow(self, kind: str, depth: int) -> Meant:
        if depth <= 0 or self.chance.random() < 0.15:
            return self.leaf(kind)
        if self.chance.random() < 0.2:
            return self.choice(kind, depth - 1)
        grown: Meant = getattr(self, f"_{kind}")(depth - 1)
        return grown

    def leaf(self, kind: str) -> Meant:
        if self.chance.random() < 0.7:
            name = self.chance.choice([name for name, one in _KINDS.items() if one == kind])
            return Meant(name, lambda row: row[name])
        literals: dict[str, Callable[[], tuple[Any, str]]] = {
            "int": self._integer,
            "float": self._float_literal,
            "text": self._text_literal,
            "bool": lambda: self.chance.choice([(True, "TRUE"), (False, "FALSE")]),
            "time": lambda: (datetime(2013, 1, 31, 10, tzinfo=UTC), "TIMESTAMP '2013-01-31 10:00:00'"),
            "date": lambda: (date(2013, 1, 31), "DATE '2013-01-31'"),
        }
        value, text = literals[kind]()
        return Meant(text, lambda row: value)

    def _integer(self) -> tuple[int, str]:
        value = self.chance.choice([0, 1, 2, -1, 3, 10, 2**31, 2**53 + 1, LAST, FIRST])
        return value, str(value) if value >= 0 else f"({value})"

    def _float_literal(self) -> tuple[float, str]:
        value = self.chance.choice([0.0, 1.0, 0.5, 2.5, 86400.0, 1e300, 9007199254740992.0])
        return value, repr(value)

    def _text_literal(self) -> tuple[str, str]:
        value = self.chance.choice(["", "a", "it's", "é", "b"])
        return value, "'" + value.replace("'", "''") + "'"

    def choice(self, kind: str, depth: int) -> Meant:
        a, b, when = self.grow(kind, depth), self.grow(kind, depth), self.grow("bool", depth)
        unwidened = a
        if kind == "float" and self.chance.random() < 0.4:
            unwidened = self.grow("int", depth)
            a = Meant(unwidened.text, strict(widened, unwidened))
        match self.chance.randrange(5):
            case 0:
                return Meant(
                    f"CASE WHEN {when.text} THEN {a.text} ELSE {b.text} END",
                    lambda row: a.of(row) if when.of(row) is True else b.of(row),
                )
            case 1:
                return Meant(
                    f"IF({when.text}, {a.text}, {b.text})",
                    lambda row: a.of(row) if when.of(row) is True else b.of(row),
                )
            case 2:

                def first(row: Row) -> Any:
                    value = a.of(row)
                    return b.of(row) if value is None else value

                return Meant(f"COALESCE({a.text}, {b.text})", first)
            case 3:

                def null_if(row: Row) -> Any:
                    value, left, right = a.of(row), unwidened.of(row), b.of(row)
                    same = left is not None and right is not None and COMPARED["="](left, right)
                    return None if same else value

                return Meant(f"NULLIF({a.text}, {b.text})", null_if)
        greatest = self.chance.random() < 0.5

        def extreme(row: Row) -> Any:
            values = [value for value in (a.of(row), b.of(row)) if value is not None]
            if not values:
                return None
            found = (max if greatest else min)(values, key=order)
            return found + 0.0 if isinstance(found, float) else found

        return Meant(f"{'GREATEST' if greatest else 'LEAST'}({a.text}, {b.text})", extreme)

    def _int(self, depth: int) -> Meant:
        a, b = self.grow("int", depth), self.grow("int", depth)
        match self.chance.randrange(13):
            case 0:
                return Meant(f"({a.text} + {b.text})", strict(lambda p, q: fit(p + q), a, b))
            case 1:
                c = self.grow("int", 0)
                return Meant(
                    f"({a.text} - {b.text} + {c.text})", strict(lambda p, q, r: fit(p - q + r), a, b, c)
                )
            case 2:
                return Meant(f"({a.text} * {b.text})", strict(lambda p, q: fit(p * q), a, b))
            case 3:
                return Meant(f"({a.text} // {b.text})", strict(quotient, a, b))
            case 4:
                return Meant(f"({a.text} % {b.text})", strict(remainder, a, b))
            case 5:
                return Meant(f"(- {a.text})", strict(lambda p: fit(-p), a))
            case 6:
                return Meant(f"ABS({a.text})", strict(lambda p: fit(abs(p)), a))
            case 7:
                n = self.chance.choice([0, 1, 2, 3, 5, 63])
                return Meant(f"POW({a.text}, {n})", strict(lambda p: power(p, n), a))
            case 8:
                name, function = self.chance.choice(
                    [
                        ("BIT_AND", lambda p, q: p & q),
                        ("BIT_OR", lambda p, q: p | q),
                        ("BIT_XOR", lambda p, q: p ^ q),
                    ]
                )
                return Meant(f"{name}({a.text}, {b.text})", strict(function, a, b))
            case 9:
                s = self.grow("text", depth)
                return Meant(f"LENGTH({s.text})", strict(len, s))
            case 10:
                x = self.grow("float", depth)
                return Meant(
                    f"TRY_CAST({x.text} AS BIGINT)",
                    strict(
                        lambda v: (
                            int(v) if math.isfinite(v) and v == int(v) and FIRST <= int(v) <= LAST else None
                        ),
                        x,
                    ),
                )
            case 11:
                part = self.chance.choice(sorted(PARTS))
                t = self.grow(self.chance.choice(["time", "date"]), depth)
                return Meant(f"EXTRACT({part} FROM {t.text})", strict(lambda v: PARTS[part](as_time(v)), t))
        return Meant(f"SIGN({a.text})", strict(lambda p: (p > 0) - (p < 0), a))

    def _number(self, depth: int) -> Meant:
        found = self.grow(self.chance.choice(["int", "float"]), depth)
        return Meant(found.text, strict(lambda value: value, found))

    def _float(self, depth: int) -> Meant:
        a, b = self._number(depth), self._number(depth)
        x = self.grow("float", depth)
        match self.chance.randrange(8):
            case 0:
                return Meant(
                    f"({a.text} / {b.text})",
                    strict(lambda p, q: None if q == 0 else float(p) / float(q), a, b),
                )
            case 1:
                return Meant(f"({x.text} + {b.text})", strict(lambda p, q: p + float(q), x, b))
            case 2:
                return Meant(f"({a.text} - {x.text})", strict(lambda p, q: float(p) - q, a, x))
            case 3:
                return Meant(f"({x.text} * {b.text})", strict(lambda p, q: p * float(q), x, b))
            case 4:
                return Meant(f"({x.text} % {b.text})", strict(lambda p, q: real_remainder(p, float(q)), x, b))
            case 5:
                choices: list[tuple[str, Callable[..., Any]]] = [
                    ("ROUND", rounded),
                    ("TRUNC", truncated),
                    ("FLOOR", whole(math.floor)),
                    ("CEIL", whole(math.ceil)),
                    ("ABS", abs),
                    ("SQRT", lambda v: math.nan if v < 0 else v if v != v else math.sqrt(v)),
                ]
                name, function = self.chance.choice(choices)
                return Meant(f"{name}({x.text})", strict(function, x))
            case 6:
                return Meant(f"(-{x.text})", strict(lambda v: -v, x))
        i = self.grow("int", depth)
        return Meant(
            f"TRY_CAST({i.text} AS DOUBLE)", strict(lambda v: float(v) if int(float(v)) == v else None, i)
        )

    def _bool(self, depth: int) -> Meant:
        match self.chance.randrange(9):
            case 0 | 1:
                a, b = self._pair(depth)
                sign = self.chance.choice(sorted(COMPARED))
                return Meant(f"({a.text} {sign} {b.text})", strict(COMPARED[sign], a, b))
            case 2:
                return self._junction("AND", False, depth)
            case 3:
                return self._junction("OR", True, depth)
            case 4:
                a = self.grow("bool", depth)
                return Meant(f"(NOT {a.text})", strict(lambda v: not v, a))
            case 5:
                a = self.grow(self.chance.choice(["int", "float", "text", "bool", "time"]), depth)
                return Meant(f"({a.text} IS NULL)", lambda row: a.of(row) is None)
            case 6:
                a, b = self._pair(depth)

                def distinct(row: Row) -> bool:
                    left, right = a.of(row), b.of(row)
                    if left is None or right is None:
                        return (left is None) != (right is None)
                    return COMPARED["<>"](left, right)

                return Meant(f"({a.text} IS DISTINCT FROM {b.text})", distinct)
            case 7:
                a = self.grow("text", depth)
                pattern = self.chance.choice(["a%", "%a", "_", "%", "", "%b%", "a_b"])
                return Meant(f"({a.text} LIKE '{pattern}')", strict(lambda v: like(v, pattern), a))
        a = self.grow(self.chance.choice(["int", "float"]), depth)
        items = [self.leaf(self.chance.choice(["int", "float"])) for _ in range(3)]

        def is_in(row: Row) -> bool | None:
            value, others = a.of(row), [item.of(row) for item in items]
            if value is None:
                return None
            if any(other is not None and COMPARED["="](value, other) for other in others):
                return True
            return None if None in others else False

        return Meant(f"({a.text} IN ({', '.join(item.text for item in items)}))", is_in)

    def _pair(self, depth: int) -> tuple[Meant, Meant]:
        kinds = self.chance.choice(
            [("int", "int"), ("int", "float"), ("float", "int"), ("float", "float"), ("text", "text"), ("bool", "bool"),
             ("time", "time"), ("time", "date"), ("date", "date")]
        )  # fmt: skip
        return self.grow(kinds[0], depth), self.grow(kinds[1], depth)

    def _junction(self, word: str, ends: bool, depth: int) -> Meant:
        parts = [self.grow("bool", depth) for _ in range(self.chance.choice([2, 3]))]

        def of(row: Row) -> bool | None:
            null = False
            for part in parts:
                value: bool | None = part.of(row)
                if value is ends:
                    return ends
                null = null or value is None
            if null:
                return None
            return not ends

        return Meant("(" + f" {word} ".join(part.text for part in parts) + ")", of)

    def _text(self, depth: int) -> Meant:
        a, b = self.grow("text", depth), self.grow("text", depth)
        match self.chance.randrange(9):
            case 0:
                return Meant(f"({a.text} || {b.text})", strict(lambda p, q: p + q, a, b))
            case 1:
                return Meant(f"REPLACE({a.text}, 'a', 'x$1')", strict(lambda v: v.replace("a", "x$1"), a))
            case 2:
                start, length = self.chance.choice([(1, 2), (0, 2), (-1, 3), (2, 0), (3, 9)])
                first = max(start - 1, 0)
                end = max(first, start - 1 + length)
                return Meant(f"SUBSTR({a.text}, {start}, {length})", strict(lambda v: v[first:end], a))
            case 3:
                n = self.chance.choice([0, 1, 2, -1])
                return Meant(f"LEFT({a.text}, {n})", strict(lambda v: v[:n], a))
            case 4:
                return Meant(f"LPAD({a.text}, 4, '0')", strict(lambda v: v.rjust(4, "0")[:4], a))
            case 5:
                return Meant(f"REVERSE({a.text})", strict(lambda v: v[::-1], a))
            case 6:

                def joined(row: Row) -> str:
                    return "".join(value for value in (a.of(row), b.of(row)) if value is not None)

                return Meant(f"CONCAT({a.text}, {b.text})", joined)
            case 7:
                i = self.grow("int", depth)
                return Meant(f"TRY_CAST({i.text} AS VARCHAR)", strict(str, i))
        return Meant(f"UPPER({a.text})", strict(lambda v: v.upper(), a))

    def _time(self, depth: int) -> Meant:
        t = self.grow(self.chance.choice(["time", "date"]), depth)
        span, text = self.chance.choice(
            [
                (timedelta(minutes=90), "90 minutes"),
                (timedelta(days=1, hours=2), "1 day 2 hours"),
                (timedelta(weeks=1), "1 week"),
            ]
        )
        if self.chance.random() < 0.5:
            return Meant(f"({t.text} + INTERVAL '{text}')", strict(lambda v: shifted(as_time(v), span), t))
        return Meant(f"({t.text} - INTERVAL '{text}')", strict(lambda v: shifted(as_time(v), -span), t))

    def _date(self, depth: int) -> Meant:
        t = self.grow("time", depth)
        return Meant(
            f"TRY_CAST({t.text} AS DATE)",
            strict(
                lambda v: v.date() if v.replace(hour=0, minute=0, second=0, microsecond=0) == v else None, t
            ),
        )
