"""Sums of floats without any rounding, as integers: so it does not matter in which order or in which parts they are summed.

A sum is a whole number of ``2^-2148``, the product of the two least floats, or the text of it.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from featurestore.arrays import Floats

_UNIT = 2148
_LARGE = 2.0**900
_SCALE = 200
_SPLITTER = 2.0**27 + 1
"""Parts a float into two halves whose products are exact (Dekker, "A floating-point technique", 1971)."""
SQUARES_BELOW = 2.0**500
"""Squares of greater numbers, and the parts of them, may not be floats."""


def exact_sum(values: Floats) -> int:
    """The sum of finite numbers.

    What a float adds to is taken off in steps (Rump, Ogita, Oishi, "Accurate floating-point summation", 2008): each takes
    the leading bits of all, which are few enough to be summed exactly by any means.

    >>> number(exact_sum(np.array([1e300, 0.1, -1e300])))
    0.1
    """
    total = 0
    rest, scale = values, 0
    if len(values) and float(np.abs(values).max()) >= _LARGE:
        large = np.abs(values) >= _LARGE
        total += exact_sum(np.ldexp(values[large], -_SCALE)) << _SCALE
        rest = values[~large]
    while len(rest):
        most = float(np.abs(rest).max())
        if not most:
            break
        edge = np.ldexp(1.5, int(np.frexp(most)[1]) + len(rest).bit_length() + 1)
        leading = (rest + edge) - edge
        total += _whole(float(leading.sum())) << scale
        rest = rest - leading
    return total


def exact_squares(values: Floats) -> int:
    """The sum of the squares of numbers below :data:`SQUARES_BELOW`: of the floats next to them, and of what these lack."""
    upper = _SPLITTER * values
    upper = upper - (upper - values)
    lower = values - upper
    square = values * values
    lack = ((upper * upper - square) + 2.0 * upper * lower) + lower * lower
    return exact_sum(square) + exact_sum(lack)


def number(total: int) -> float:
    """The float next to a sum."""
    return float(exact(total))


def exact(total: int) -> Fraction:
    return Fraction(total, 1 << _UNIT)


def text(total: int) -> str:
    """As few characters as its digits need.

    >>> text(exact_sum(np.array([6.0]))), parsed("3p2149") == exact_sum(np.array([6.0]))
    ('3p2149', True)
    """
    if not total:
        return "0"
    zeros = (total & -total).bit_length() - 1
    return f"{total >> zeros:x}p{zeros}"


def parsed(text: str) -> int:
    """The sum that a text says."""
    digits, _, zeros = text.partition("p")
    return int(digits, 16) << int(zeros or 0)


def _whole(value: float) -> int:
    above, below = value.as_integer_ratio()
    return (above << _UNIT) // below
