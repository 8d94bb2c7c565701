"""Ray Data and workers of Ray Train read each row of a training set once, in processes of their own."""

from __future__ import annotations

from framework_set import AskFramework, Made


def test_a_dataset_of_ray_has_each_row_once(ask: AskFramework, made: Made) -> None:
    found = ask("ray", "ray_read.py")
    assert sorted(found["labels"]) == made.labels
    assert found["blocks"] > 1
    assert found["columns"] == ["k", "ts", "w", "v", "n_1d"]


def test_workers_of_ray_train_have_each_row_once_by_the_lines_of_the_page(
    ask: AskFramework, made: Made
) -> None:
    read = ask("ray", "ray_train.py")
    assert sorted(read) == ["0", "1"]
    assert sorted(read["0"] + read["1"]) == made.labels
    assert len(read["0"]) == len(read["1"]) == 350
