"""How far two distributions of a feature lie apart, from two samples of its values.

| metric | of | is |
|---|---|---|
| PSI | numbers, texts | ``Σ (q − p) · ln(q / p)`` over bins, shares being at least 0.0001; 0 for equal ones, unbounded |
| Jensen-Shannon | numbers, texts | the distance, to base 2, of the same bins: 0 to 1 |
| Kolmogorov-Smirnov | numbers | the greatest difference of the two cumulated distributions: 0 to 1 |

Bins are the ten parts of the reference that have equally many values; of texts and truth values, the 20 that are most frequent
in the reference, and all others together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from featurestore.arrays import Floats, numbers

LEAST_VALUES = 100
"""Of fewer values a distribution says too little."""
_FLOOR = 1e-4
_PARTS = 10
_MOST_FREQUENT = 20


def psi(reference: Floats, counts: Floats) -> float:
    """The population stability index of two counts of the same bins."""
    p = np.maximum(reference / reference.sum(), _FLOOR)
    q = np.maximum(counts / counts.sum(), _FLOOR)
    return float(np.sum((q - p) * np.log(q / p)))


def jensen_shannon(reference: Floats, counts: Floats) -> float:
    """The Jensen-Shannon distance of two counts of the same bins, to base 2."""
    p, q = reference / reference.sum(), counts / counts.sum()
    middle = (p + q) / 2
    divergence = (_entropy(p, middle) + _entropy(q, middle)) / 2
    return float(np.sqrt(max(divergence, 0.0)))


def _entropy(p: Floats, q: Floats) -> float:
    mask = p > 0
    return float(np.sum(p[mask] * np.log2(p[mask] / q[mask])))


def kolmogorov_smirnov(reference: Floats, values: Floats) -> float:
    """The statistic of two samples."""
    one, other = np.sort(reference), np.sort(values)
    at = np.concatenate([one, other])
    below = np.searchsorted(one, at, "right") / len(one)
    return float(np.abs(below - np.searchsorted(other, at, "right") / len(other)).max())


def drift_of(reference: pa.Array, values: pa.Array) -> dict[str, float]:
    """Name of each metric to its value; nothing of what cannot be compared, or is too few."""
    kinds = reference.type, values.type
    if all(_is_number(kind) for kind in kinds):
        one, other = _floats(reference), _floats(values)
        if min(len(one), len(other)) < LEAST_VALUES:
            return {}
        edges = np.unique(np.quantile(one, np.arange(1, _PARTS) / _PARTS, method="inverted_cdf"))
        bins = [
            np.bincount(np.searchsorted(edges, values, "left"), minlength=len(edges) + 1).astype(np.float64)
            for values in (one, other)
        ]
        return _binned(*bins) | {"KS": kolmogorov_smirnov(one, other)}
    if min(len(reference), len(values)) < LEAST_VALUES or kinds[0] != kinds[1]:
        return {}
    if not (pa.types.is_string(kinds[0]) or pa.types.is_boolean(kinds[0])):
        return {}
    counted, here = _counts(reference), _counts(values)
    named = sorted(counted, key=lambda value: (-counted[value], str(value)))[:_MOST_FREQUENT]
    return _binned(_with_others(counted, named), _with_others(here, named))


def _binned(reference: Floats, counts: Floats) -> dict[str, float]:
    return {"PSI": psi(reference, counts), "JensenShannon": jensen_shannon(reference, counts)}


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _floats(values: pa.Array) -> Floats:
    floats = numbers(values).astype(np.float64)
    return floats[np.isfinite(floats)]


def _counts(values: pa.Array) -> dict[Any, int]:
    counted = values.value_counts()
    return dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True))


def _with_others(counts: Mapping[Any, int], named: list[Any]) -> Floats:
    known = [counts.get(value, 0) for value in named]
    return np.array([*known, sum(counts.values()) - sum(known)], np.float64)
