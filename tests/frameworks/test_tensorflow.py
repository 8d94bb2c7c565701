"""TensorFlow's dataset gives each row once, and goes on exactly after the batches that were taken of it."""

from __future__ import annotations

from framework_set import AskFramework, Made


def test_a_dataset_gives_each_row_once_and_resumes_after_the_batches_that_were_taken(
    ask: AskFramework, made: Made
) -> None:
    found = ask("tensorflow", "tensorflow_read.py")
    assert sorted(found["whole"]) == sorted(made.labels * 2)
    assert found["again"] == found["whole"]
    assert found["begun"] + found["rest"] == found["whole"]
    assert found["dtypes"] == {"k": "string", "n_1d": "int64", "v": "int64", "w": "float64"}
    assert found["page"] == 3  # All its epochs.
