"""Durations (``10s``, ``30d``), sizes (``2Gi``) and CPUs (``500m``) as people write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

from featurestore.timestamps import duration_us

_UNITS = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 604_800_000_000,
}
_DURATION = re.compile(r"(\d+)(us|ms|s|m|h|d|w)")
DURATION_PATTERN = r"^([0-9]{1,9}(us|ms|s|m|h|d|w))+$"
POSITIVE_DURATION_PATTERN = r"^([0-9]{0,8}[1-9][0-9]{0,8}(us|ms|s|m|h|d|w))+$"
LONGEST = timedelta(days=36_500)
_SIZES = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}
CPU_PATTERN = r"^[1-9][0-9]{0,5}m?$"
BYTES_PATTERN = r"^[1-9][0-9]{0,14}(k|M|G|T|Ki|Mi|Gi|Ti)?$"
_A_DURATION = "wanted a duration such as 30s, 5m, 1h30m or 30d"
_NOT_ZERO = "wanted a duration longer than zero"
_A_SIZE = "wanted a size such as 500M or 2Gi"
_CPUS = "wanted a number of CPUs such as 500m or 2"
SENTENCES: Mapping[str, tuple[tuple[str, str], ...]] = {
    DURATION_PATTERN: ((f"self.matches('{DURATION_PATTERN}')", _A_DURATION),),
    POSITIVE_DURATION_PATTERN: (
        (f"self.matches('{DURATION_PATTERN}')", _A_DURATION),
        ("!self.matches('^(0+[a-z]+)+$')", _NOT_ZERO),
    ),
    BYTES_PATTERN: ((f"type(self) == int ? self > 0 : self.matches('{BYTES_PATTERN}')", _A_SIZE),),
    CPU_PATTERN: ((f"type(self) == int ? self > 0 : self.matches('{CPU_PATTERN}')", _CPUS),),
}
"""Pattern to rules in CEL that say the same, each with what a broken one says: of a pattern the API server would say
nothing but the pattern.
"""


def parse_duration(value: object) -> timedelta:
    """A duration from text such as ``10s``, ``1h30m`` or ``30d``.

    Raises:
        ValueError: the text is not a duration.

    >>> parse_duration("1h30m")
    datetime.timedelta(seconds=5400)
    """
    if isinstance(value, timedelta):
        return value
    text = str(value)
    if not re.fullmatch(DURATION_PATTERN, text):
        raise ValueError(_A_DURATION)
    us = sum(int(n) * _UNITS[unit] for n, unit in _DURATION.findall(text))
    if us > duration_us(LONGEST):
        raise ValueError(f"wanted a duration of at most {format_duration(LONGEST)}")
    return timedelta(microseconds=us)


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta():
        raise ValueError(_NOT_ZERO)
    return value


def _not_negative(value: timedelta) -> timedelta:
    if value < timedelta():
        raise ValueError("wanted a duration that is not negative")
    return value


def format_duration(value: timedelta) -> str:
    """The shortest text that ``parse_duration`` reads back.

    >>> format_duration(timedelta(days=30)), format_duration(timedelta(seconds=5400))
    ('30d', '1h30m')
    """
    rest = duration_us(value)
    if rest == 0:
        return "0s"
    text = ""
    for unit in ("d", "h", "m", "s", "ms", "us"):
        count, rest = divmod(rest, _UNITS[unit])
        text += f"{count}{unit}" if count else ""
    return text


def parse_bytes(value: object) -> int:
    """A number of bytes from text such as ``500M`` or ``2Gi``, Kubernetes' quantities without fractions.

    Raises:
        ValueError: the text is not a size.

    >>> parse_bytes("2Gi")
    2147483648
    """
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    text = str(value)
    if not re.fullmatch(BYTES_PATTERN, text):
        raise ValueError(_A_SIZE)
    digits = re.match(r"\d+", text)
    assert digits is not None
    return int(digits.group()) * _SIZES[text[digits.end() :]]


def format_bytes(value: int) -> str:
    """The shortest text that ``parse_bytes`` reads back.

    >>> format_bytes(2147483648), format_bytes(1500)
    ('2Gi', '1500')
    """
    for suffix in ("Ti", "Gi", "Mi", "Ki"):
        if value and value % _SIZES[suffix] == 0:
            return f"{value // _SIZES[suffix]}{suffix}"
    return str(value)


def parse_cpu(value: object) -> int:
    """Thousandths of a CPU from text such as ``500m`` or ``2``.

    Raises:
        ValueError: the text is not a number of CPUs.

    >>> parse_cpu("500m"), parse_cpu(2)
    (500, 2000)
    """
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(CPU_PATTERN, text):
        raise ValueError(_CPUS)
    return int(text.removesuffix("m")) * (1 if text.endswith("m") else 1000)


def format_cpu(value: int) -> str:
    """The shortest text that ``parse_cpu`` reads back.

    >>> format_cpu(500), format_cpu(2000)
    ('500m', '2')
    """
    return f"{value}m" if value % 1000 else str(value // 1000)


def _schema(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "maxLength": 32})


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    AfterValidator(_not_negative),
    PlainSerializer(format_duration, return_type=str),
    _schema(DURATION_PATTERN),
]
PositiveDuration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    AfterValidator(_positive),
    PlainSerializer(format_duration, return_type=str),
    _schema(POSITIVE_DURATION_PATTERN),
]


def _int_or_string(pattern: str) -> WithJsonSchema:
    return WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": pattern,
            "maxLength": 20,
            "x-kubernetes-int-or-string": True,
        }
    )


Bytes = Annotated[
    int,
    BeforeValidator(parse_bytes),
    PlainSerializer(format_bytes, return_type=str),
    _int_or_string(BYTES_PATTERN),
]
Cpu = Annotated[
    int,
    BeforeValidator(parse_cpu),
    PlainSerializer(format_cpu, return_type=str),
    _int_or_string(CPU_PATTERN),
]
