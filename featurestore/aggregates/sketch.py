"""Mergeable sketches whose answer depends on the set of values alone: not on order, machine or split.

Both are pure integer arithmetic up to the last step, so that offline and online agree to the last bit.
A sketch of many groups at once is a pair of arrays ``(group, code)``; merging is putting them together.

Distinct: HyperLogLog with 2^12 registers of a 64-bit hash (Flajolet, Fusy, Gandouet, Meunier,
"HyperLogLog: the analysis of a near-optimal cardinality estimation algorithm", 2007), estimated from the
histogram of its registers (Ertl, "New cardinality estimation algorithms for HyperLogLog sketches", 2017,
algorithm 6), which needs no tables and no case for small sets. Standard error 1.6 %.

Quantile: a histogram whose buckets have a bounded relative width (Masson, Rim, Lee, "DDSketch: a fast and
fully-mergeable quantile sketch with relative-error guarantees", 2019), with buckets cut from the bits of
the float as in HdrHistogram: 128 equal parts of each power of two. Relative error ≤ 1/256.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.arrays import Ints

Floats = npt.NDArray[np.float64]

_PRECISION = 12
_REGISTERS = 1 << _PRECISION
_RANK_BITS = 6
_LONGEST = 64 - _PRECISION

_MANTISSA_BITS = 7
_SHIFT = 52 - _MANTISSA_BITS
_NAN_BUCKET = np.int32(1 << (11 + _MANTISSA_BITS))


def distinct_codes(texts: pa.Array) -> npt.NDArray[np.uint32]:
    """The register and rank of each text: ``register << 6 | rank``. A set of codes is a sketch."""
    encoded = pc.dictionary_encode(texts)
    hashes = np.fromiter((_hash(text) for text in encoded.dictionary.to_pylist()), np.uint64)
    register = (hashes >> np.uint64(_LONGEST)).astype(np.uint32)
    rest = hashes & np.uint64((1 << _LONGEST) - 1)
    # frexp is exact here: the rest has at most 52 bits, and a float64 holds 53.
    rank = (_LONGEST + 1 - np.frexp(rest.astype(np.float64))[1]).astype(np.uint32)
    codes = register << np.uint32(_RANK_BITS) | rank
    result: npt.NDArray[np.uint32] = codes[encoded.indices.to_numpy(zero_copy_only=False)]
    return result


def merge_distinct(group: Ints, codes: npt.NDArray[Any]) -> tuple[Ints, npt.NDArray[np.uint32]]:
    """One code per group and register, that of the greatest rank; sorted by group and register."""
    key = np.sort(group << np.int64(_PRECISION + _RANK_BITS) | codes.astype(np.int64))
    register = key >> np.int64(_RANK_BITS)
    last = np.ones(len(key), np.bool_)
    last[:-1] = register[1:] != register[:-1]
    key = key[last]
    code = (key & np.int64((1 << (_PRECISION + _RANK_BITS)) - 1)).astype(np.uint32)
    return key >> np.int64(_PRECISION + _RANK_BITS), code


def estimate_distinct(group: Ints, codes: npt.NDArray[Any], groups: int) -> Ints:
    """How many distinct texts each of the groups ``0 … groups - 1`` has seen; 0 for one without codes."""
    group, codes = merge_distinct(group, codes)
    rank = (codes & np.uint32((1 << _RANK_BITS) - 1)).astype(np.int64)
    width = _LONGEST + 2
    histogram = np.bincount(group * width + rank, minlength=groups * width).reshape(groups, width)
    empty = _REGISTERS - histogram.sum(axis=1)
    z = _REGISTERS * _tau(1.0 - histogram[:, _LONGEST + 1] / _REGISTERS)
    for k in range(_LONGEST, 0, -1):
        z = 0.5 * (z + histogram[:, k])
    z = z + _REGISTERS * _sigma(empty / _REGISTERS)
    with np.errstate(divide="ignore"):
        estimate = _REGISTERS / (2.0 * np.log(2.0)) * _REGISTERS / z
    return np.rint(np.where(empty == _REGISTERS, 0.0, estimate)).astype(np.int64)


def quantile_buckets(values: Floats) -> npt.NDArray[np.int32]:
    """The bucket of each value; greater values have greater buckets, NaN the greatest."""
    magnitude = (np.abs(values).view(np.int64) >> _SHIFT).astype(np.int32)
    signed = np.where(np.signbit(values), -magnitude, magnitude)
    return np.where(np.isnan(values), _NAN_BUCKET, signed).astype(np.int32)


def merge_quantile(
    group: Ints, buckets: npt.NDArray[np.int32], counts: Ints
) -> tuple[Ints, npt.NDArray[np.int32], Ints]:
    """One count per group and bucket, sorted by group and bucket."""
    key = group << np.int64(32) | (buckets.astype(np.int64) + np.int64(1 << 31))
    order = np.argsort(key, kind="stable")
    key, counts = key[order], counts[order]
    first = np.flatnonzero(np.diff(key, prepend=np.int64(-1)))
    key, counts = key[first], np.add.reduceat(counts, first) if len(first) else counts
    return key >> np.int64(32), ((key & 0xFFFF_FFFF) - (1 << 31)).astype(np.int32), counts


def estimate_quantile(
    group: Ints, buckets: npt.NDArray[np.int32], counts: Ints, groups: int, quantile: float
) -> Floats:
    """The quantile of each group: the middle of the bucket with the value of rank ⌊q·(n − 1)⌋.

    Every group ``0 … groups - 1`` must have a bucket, or its answer has no meaning.
    """
    group, buckets, counts = merge_quantile(group, buckets, counts)
    total = np.zeros(groups, np.int64)
    np.add.at(total, group, counts)
    wanted = np.floor(quantile * (total - 1)).astype(np.int64)
    upto = np.cumsum(counts)
    before = np.cumsum(total) - total
    # The first bucket of the group that leaves fewer than `wanted` values before it: counts are all ≥ 1,
    # so the running total over all groups is strictly increasing and one search serves them all.
    bucket = np.minimum(np.searchsorted(upto, before + wanted, "right"), max(len(buckets) - 1, 0))
    return bucket_middle(buckets[bucket]) if len(buckets) else np.full(groups, np.nan)


def bucket_middle(buckets: npt.NDArray[np.int32]) -> Floats:
    """The value that stands for each bucket."""
    magnitude = np.abs(buckets).astype(np.int64)
    infinite = np.int64(2047 << _MANTISSA_BITS)
    inside = (magnitude > 0) & (magnitude < infinite)
    bits = (magnitude << _SHIFT) + np.where(inside, np.int64(1 << (_SHIFT - 1)), np.int64(0))
    middle = np.where(buckets < 0, -1.0, 1.0) * np.minimum(bits, infinite << _SHIFT).view(np.float64)
    return np.where(buckets == _NAN_BUCKET, np.nan, middle)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _sigma(x: Floats) -> Floats:
    """Ertl's σ(x) = x + Σ x^(2^k)·2^(k−1), by doubling until nothing changes; infinite at 1."""
    total, weight, power = x.copy(), 1.0, x.copy()
    while True:
        power = power * power
        grown = total + np.where(x == 1.0, 0.0, power * weight)
        if (grown == total).all():
            return np.where(x == 1.0, np.inf, total)
        total, weight = grown, weight * 2.0


def _tau(x: Floats) -> Floats:
    """Ertl's τ(x) = (1 − x − Σ (1 − x^(2^−k))²·2^(−k)) / 3; zero at 0 and at 1."""
    total, weight, root = 1.0 - x, 1.0, x.copy()
    while True:
        root, weight = np.sqrt(root), weight * 0.5
        shrunk = total - (1.0 - root) ** 2 * weight
        if (shrunk == total).all():
            return np.where((x == 0.0) | (x == 1.0), 0.0, total / 3.0)
        total = shrunk
