"""A step of a pipeline gets a version that has the data that it waited for, or is told why there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from laptop import Laptop
from training import begin, rows, training_set

from featurestore.client.awaiting import await_fresh, await_version
from featurestore.errors import NotFound, RequestError, TransientError


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    laptop = begin(tmp_path, rows(40))
    laptop.apply(training_set(refresh="OnNewData"))
    laptop.run()
    return laptop


def test_a_version_of_an_earlier_commit_is_not_taken_for_one_that_has_the_new_rows(laptop: Laptop) -> None:
    root = laptop.storage.root
    commit, watermark = await_fresh(root, "view", "", 60)
    first = await_version(root, "set", "view", commit, 0)
    assert watermark == laptop.store(laptop.now).describe("view")["watermark"]
    with pytest.raises(TransientError, match=rf"wanted one of commit {commit + 1}.*made of commit {commit}"):
        await_version(root, "set", "view", commit + 1, 0)
    laptop.drop("more.parquet", rows(10, seed=2))
    laptop.run()
    later, _ = await_fresh(root, "view", "", 60)
    assert later > commit
    second = await_version(root, "set", "view", later, 0)
    assert second.manifest.rows == first.manifest.rows + 10


def test_a_view_that_the_set_does_not_have_and_a_set_that_is_not_there_are_told(laptop: Laptop) -> None:
    root = laptop.storage.root
    with pytest.raises(RequestError, match=r"no features of the view 'other'.*view"):
        await_version(root, "set", "other", 0, 0)
    with pytest.raises(TransientError, match="no complete version"):
        await_version(root, "nothing", "", -1, 0)
    with pytest.raises(NotFound):
        await_fresh(root, "nothing", "", 0)
