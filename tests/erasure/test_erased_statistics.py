"""Statistics say nothing of rows that were erased."""

from __future__ import annotations

from collections.abc import Callable

from erasing import Erasing

from featurestore.storage import paths
from featurestore.views.builds import read_active_build
from featurestore.views.view_statistics import read_statistics, statistics_versions


def test_after_an_erasure_no_statistics_of_any_commit_have_a_value_of_its_rows(
    store: Callable[..., Erasing],
) -> None:
    made = store()
    made.drop_rows("1.csv", ("gone", "here", 777_777), ("stays", "here", 2))
    made.run()
    made.drop_rows("2.csv", ("stays", "here", 4))
    made.run()
    sample = paths.reference_profile("things", "0123456789abcdef", 0)
    made.storage.replace(sample, b"what a training set looks like")
    made.erase("gone")
    assert made.storage.find(sample) is None
    for view in ("things", "places"):
        serving = read_active_build(made.storage, view)
        assert serving is not None
        [version] = statistics_versions(made.storage, view, serving.digest)
        found = read_statistics(made.storage, view, serving.digest, version)
        assert found is not None
        assert (found.every.rows, found.every.features["v"].maximum) == (2, 4)
        folder = paths.view_statistics(view, serving.digest)
        for name in made.storage.names(folder):
            assert b"777777" not in made.storage.read(f"{folder}/{name}")
