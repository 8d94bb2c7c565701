"""Ray Data reads each row of a training set once, in tasks of its own processes."""

from __future__ import annotations

from framework_set import AskFramework, Made


def test_a_dataset_of_ray_has_each_row_once(ask: AskFramework, made: Made) -> None:
    found = ask("ray", "ray_read.py")
    assert sorted(found["labels"]) == made.labels
    assert found["blocks"] > 1
    assert found["columns"] == ["k", "ts", "w", "v", "n_1d"]
