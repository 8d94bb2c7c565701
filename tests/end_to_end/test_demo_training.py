"""The story that ``make demo-training`` tells, and what came of it, computed another way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import featurestore
from demo.training import FEATURES, tell


@pytest.mark.slow
def test_flights_become_a_model_that_is_served_and_whose_drift_is_told(tmp_path: Path) -> None:
    story = tell(tmp_path / "store")
    store = featurestore.connect(story.store)

    data = store.training_set("delays")
    assert (data.number, data.digest) == (1, story.digest)
    rows = data.to_polars("train")
    assert rows.height > 30_000
    assert set(rows["late"].unique()) == {0.0, 1.0}

    # The join at the time of the request, though a month has come since.
    entities = [{**key, "at": story.asked_at} for key in story.keys]
    then = store.get_features(FEATURES, entities, timestamp_column="at", as_of=story.asked_at).to_dict()
    last, mean, base = json.loads(story.weights.read_text())
    expected = [
        last * (delay or 0.0) + mean * (average or 0.0) + base
        for delay, average in zip(then["last_arr_delay"], then["arr_delay_mean_7d"], strict=True)
    ]
    assert story.predictions == pytest.approx(expected, abs=1e-9)
    assert len(set(story.predictions)) == 3
    assert story.predictions[-1] == pytest.approx(base)  # Of an aircraft that nobody knows.

    now = store.get_features(FEATURES, story.keys).to_dict()
    assert now["last_arr_delay"][:2] != then["last_arr_delay"][:2]
    assert (story.drifted.type, story.drifted.status.value) == ("Drifted", "True")
    assert "last_arr_delay" in story.drifted.message
