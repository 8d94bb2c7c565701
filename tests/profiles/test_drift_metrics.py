"""Drift is measured as scipy measures it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from featurestore.profiles.drift_metrics import drift_of, jensen_shannon, kolmogorov_smirnov, psi

CHANCE = np.random.default_rng(7)
COUNTS = [CHANCE.integers(0, 100, (2, 10)).astype(np.float64) for _ in range(5)]
SAMPLES = [
    (CHANCE.normal(0, 1, 500), CHANCE.normal(0.3, 2, 300)),
    (CHANCE.integers(0, 5, 400).astype(np.float64), CHANCE.integers(1, 6, 200).astype(np.float64)),
    (np.zeros(100), np.ones(100)),
]


def scipys_distance(one: np.ndarray, other: np.ndarray) -> float:
    # Each process that collects tests would wait a second for scipy.
    from scipy.spatial.distance import jensenshannon

    return float(jensenshannon(one, other, base=2))


@pytest.mark.parametrize("place", range(len(COUNTS)))
def test_distances_of_counts_are_those_of_scipy(place: int) -> None:
    from scipy.special import rel_entr

    one, other = COUNTS[place]
    assert jensen_shannon(one, other) == pytest.approx(scipys_distance(one, other), abs=1e-12)
    p, q = (np.maximum(it / it.sum(), 1e-4) for it in (one, other))
    assert psi(one, other) == pytest.approx(rel_entr(p, q).sum() + rel_entr(q, p).sum(), abs=1e-12)


@pytest.mark.parametrize("place", range(len(SAMPLES)))
def test_the_statistic_of_two_samples_is_that_of_scipy(place: int) -> None:
    from scipy.stats import ks_2samp

    one, other = SAMPLES[place]
    wanted = ks_2samp(one, other).statistic
    assert kolmogorov_smirnov(one, other) == pytest.approx(wanted, abs=1e-12)
    assert drift_of(pa.array(one), pa.array(other))["KS"] == pytest.approx(wanted, abs=1e-12)


def test_equal_samples_have_not_drifted_and_disjoint_ones_have_as_far_as_can_be() -> None:
    values = pa.array(CHANCE.normal(0, 1, 1000))
    assert drift_of(values, values) == {"PSI": 0.0, "JensenShannon": 0.0, "KS": 0.0}
    apart = drift_of(values, pa.array(CHANCE.normal(100, 1, 1000)))
    assert apart["KS"] == 1.0
    assert apart["PSI"] > 1


def test_texts_are_compared_by_how_often_each_occurs() -> None:
    reference = pa.array(["a"] * 80 + ["b"] * 20)
    assert drift_of(reference, reference) == {"PSI": 0.0, "JensenShannon": 0.0}
    found = drift_of(reference, pa.array(["a"] * 50 + ["new"] * 50))
    wanted = scipys_distance(np.array([0.8, 0.2, 0]), np.array([0.5, 0, 0.5]))
    assert found["JensenShannon"] == pytest.approx(wanted, abs=1e-12)
    assert "KS" not in found


@pytest.mark.parametrize(
    ("reference", "values"),
    [
        (pa.array([1.0] * 99), pa.array([1.0] * 100)),
        (pa.array([], pa.float64()), pa.array([1.0] * 100)),
        (pa.array([float("nan")] * 100), pa.array([1.0] * 100)),
        (pa.array(["a"] * 100), pa.array([1.0] * 100)),
        (pa.nulls(0), pa.array([1.0] * 100)),
        (pa.array([1] * 100, pa.timestamp("us")), pa.array([1] * 100, pa.timestamp("us"))),
    ],
)
def test_what_is_too_little_or_of_other_types_is_not_compared(reference: pa.Array, values: pa.Array) -> None:
    assert drift_of(reference, values) == {}


def test_numbers_of_other_widths_are_compared() -> None:
    assert drift_of(pa.array([1] * 100, pa.int32()), pa.array([1.0] * 100))["KS"] == 0.0
