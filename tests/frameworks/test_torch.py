"""PyTorch's loaders give each row once, and go on exactly where they were stopped."""

from __future__ import annotations

from framework_set import AskFramework, Made


def test_loaders_give_each_row_once_and_resume_with_the_same_and_with_other_numbers_of_workers(
    ask: AskFramework, made: Made
) -> None:
    found = ask("torch", "torch_read.py")
    assert sorted(found["workers"]) == made.labels
    assert found["dtypes"] == {"n_1d": "torch.int64", "v": "torch.int64", "w": "torch.float64"}
    for case in ("stateful 0", "stateful 2"):
        assert found[case]["rest"] == found[case]["whole"][len(found[case]["begun"]) :], case
        assert sorted(found[case]["whole"]) == sorted(made.labels * 2), case
    assert sorted(found["others"]["begun"] + found["others"]["rest"]) == made.labels
    assert "column 'v'" in found["nulls"]
    assert "fill={'v'" in found["nulls"]
    assert found["page"] == 3  # All its epochs.
