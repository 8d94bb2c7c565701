"""Moving, copying, pointing elsewhere, deleting and creating again: nothing is doubled, lost or frozen."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from laptop import Laptop

from featurestore.cli.delete import delete
from featurestore.registry.project import open_project
from featurestore.resources import DataPipeline, FeatureView
from featurestore.storage import paths

START = datetime(2024, 3, 30, 9, tzinfo=UTC)
ROWS = ({"k": "a", "ts": START - timedelta(hours=2), "v": 1, "w": 0.5},)
MORE = ({"k": "b", "ts": START - timedelta(hours=1), "v": 2, "w": 1.5},)


def pipeline(name: str = "p", source: str = "raw/*.parquet", **spec: Any) -> dict[str, Any]:
    wanted = {"source": {"uri": source, "format": "Parquet", **spec}}
    return {"kind": "DataPipeline", "metadata": {"name": name}, "spec": wanted}


def view(source: str = "p", name: str = "view") -> dict[str, Any]:
    return {
        "kind": "FeatureView",
        "metadata": {"name": name},
        "spec": {
            "entity": {"name": "e", "joinKeys": [{"name": "k", "type": "string"}]},
            "source": {"pipeline": source},
            "timestampField": "ts",
            "features": [{"name": "v", "type": "int64", "column": "v"}],
        },
    }


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    laptop = Laptop(tmp_path / "project", START)
    laptop.drop("a.parquet", ROWS)
    return laptop


def again(laptop: Laptop, folder: Path) -> Laptop:
    """The same project, found in another folder."""
    found = object.__new__(Laptop)
    found.__dict__.update(laptop.__dict__)
    found.folder = folder
    found.project = open_project(folder, {}, folder)
    found.storage = found.project.storage
    return found


def rows(laptop: Laptop, name: str = "p") -> list[int]:
    return sorted(row["v"] for row in laptop.table(paths.dataset(name)))


def value(laptop: Laptop, key: str = "a") -> Any:
    store = laptop.store(laptop.now)
    return store.get_features(["view:v"], entities={"k": [key]}).to_dict()["v"][0]


@pytest.mark.parametrize("on_overwrite", ["Reject", "Append", "Replace"])
def test_a_project_that_is_moved_keeps_its_files_and_takes_only_new_ones(
    laptop: Laptop, tmp_path: Path, on_overwrite: str
) -> None:
    laptop.apply(pipeline(onOverwrite=on_overwrite), view())
    laptop.run()
    moved = again(laptop, laptop.folder.rename(tmp_path / "moved"))
    moved.run()
    assert rows(moved) == [1]
    moved.drop("b.parquet", MORE)
    moved.run()
    assert rows(moved) == [1, 2]
    assert value(moved, "b") == 2


def test_a_copied_project_keeps_its_files(laptop: Laptop, tmp_path: Path) -> None:
    laptop.apply(pipeline(onOverwrite="Append"), view())
    laptop.run()
    copied = again(laptop, Path(shutil.copytree(laptop.folder, tmp_path / "copied")))
    copied.run()
    assert rows(copied) == [1]
    assert value(copied) == 1


def test_the_files_of_a_source_beside_the_project_are_known_by_their_way_there(
    laptop: Laptop, tmp_path: Path
) -> None:
    laptop.apply(pipeline(source="../shared/*.parquet"))
    (laptop.folder / "raw").rename(tmp_path / "shared")
    laptop.run()
    assert rows(laptop) == [1]
    assert laptop.ledger("p").manifest(1).entries[0].arrival.uri == "../shared/a.parquet"


def test_a_view_pointed_at_another_pipeline_goes_live_whatever_the_commits_of_both(laptop: Laptop) -> None:
    laptop.apply(pipeline(), pipeline("q", "other/*.parquet"), view())
    laptop.run()
    for number in range(2, 5):
        laptop.drop(f"{number}.parquet", ({**ROWS[0], "v": number},))
        laptop.run()
    (laptop.folder / "other").mkdir()
    shutil.copy2(laptop.folder / "raw" / "4.parquet", laptop.folder / "other" / "x.parquet")
    laptop.apply(view("q"))
    laptop.run()
    assert laptop.project.registry.all(FeatureView)["view"].resource.spec.source.pipeline == "q"
    assert value(laptop) == 4
    laptop.drop("9.parquet", ({**ROWS[0], "v": 9},))
    laptop.run()
    assert value(laptop) == 4


def test_a_pipeline_deleted_with_its_data_and_created_again_takes_its_files_anew(laptop: Laptop) -> None:
    laptop.apply(pipeline(), view())
    laptop.run()
    laptop.drop("b.parquet", MORE)
    laptop.run()
    delete(laptop.project, "view", "view", data=True)
    delete(laptop.project, "pipeline", "p", data=True)
    laptop.remove("b.parquet")
    laptop.apply(pipeline(), view())
    laptop.run()
    assert rows(laptop) == [1]
    assert value(laptop) == 1
    assert value(laptop, "b") is None


def test_a_view_stays_and_follows_its_pipeline_that_was_deleted_and_created_again(laptop: Laptop) -> None:
    laptop.apply(pipeline(), view())
    for number in range(3):
        laptop.drop(f"{number}.parquet", ({**ROWS[0], "v": number},))
        laptop.run()
    laptop.project.registry.remove(DataPipeline, "p")
    laptop.project.registry.delete_data(DataPipeline, "p")
    for number in range(3):
        laptop.remove(f"{number}.parquet")
    laptop.apply(pipeline())
    laptop.run()
    assert rows(laptop) == [1]
    assert value(laptop) == 1


def test_a_deletion_that_was_cut_off_is_done_before_the_name_is_used_again(laptop: Laptop) -> None:
    laptop.apply(pipeline())
    laptop.run()
    for times in (1, 2, 3):
        with laptop.killed_at("before-delete", times):
            delete(laptop.project, "pipeline", "p", data=True)
        laptop.apply(pipeline())
        laptop.run()
        assert rows(laptop) == [1]
        assert laptop.ledger("p").last_batch() == 1


def test_a_batch_under_way_while_its_pipeline_is_deleted_with_its_data_commits_nothing(
    laptop: Laptop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from featurestore_transforms.batch import batch

    laptop.apply(pipeline())
    run, deleted = batch.commit, []

    def late(*arguments: Any) -> Any:
        if not deleted:
            deleted.append(delete(laptop.project, "pipeline", "p", data=True))
        return run(*arguments)

    monkeypatch.setattr(batch, "commit", late)
    laptop.run()
    assert deleted
    assert laptop.table(paths.dataset("p")) == []
    laptop.apply(pipeline())
    laptop.run()
    assert rows(laptop) == [1]


@pytest.mark.parametrize("folder", ["a[x]b", "a{b}", "a b*c", "[", "%", "ü", ".hidden", "~x"])
def test_a_project_finds_its_files_whatever_its_folder_is_called(tmp_path: Path, folder: str) -> None:
    laptop = Laptop(tmp_path / folder, START)
    laptop.drop("a.parquet", ROWS)
    laptop.apply(pipeline(source="raw/**/*.parquet"), view())
    laptop.run()
    assert rows(laptop) == [1]
    assert value(laptop) == 1
