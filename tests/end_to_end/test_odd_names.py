"""Names, paths and URLs of every odd kind, in every position: right values, or a refusal before anything is written."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import pytest
from laptop import Laptop
from pydantic import ValidationError

from featurestore.errors import SpecError
from featurestore.registry.project import open_project
from featurestore.resources.value import COLUMN_PATTERN
from featurestore.storage import paths

pytestmark = pytest.mark.slow
START = datetime(2024, 3, 30, 9, tzinfo=UTC)
NAMES = [
    *("a#b", "a?b", "a%b", "a%20b", "a[b]", "a{b}", "a*b", "a b", "aüß日", "a+b", "a&b", "a'b", 'a"b', "a;b"),
    *("a=b", "a@b", "a~b", "..a", "a:b", "a,b", "a$b", "a!b", "a(b)", "a|b", "a^b", "a`b", "-a", "a\\b"),
    "x" * 180,
]
STORE = "kind: FeatureStore\nmetadata: {{name: default}}\nspec: {{offline: {{uri: {uri!r}}}}}\n"


class Place(Laptop):
    """A laptop with its storage root, and its source, wherever the test says."""

    def __init__(self, folder: Path, root: str, source: str) -> None:
        super().__init__(folder, START)
        (folder / "store.yaml").write_text(STORE.format(uri=root))
        self.source = source
        self.project = open_project(folder, {}, folder)
        self.storage = self.project.storage

    def take(self, key: str = "k", column: str = "v") -> Any:
        """What is read of the one row that the source has."""
        self.apply(
            {
                "kind": "DataPipeline",
                "metadata": {"name": "p"},
                "spec": {"source": {"uri": self.source, "format": "CSV"}},
            },
            {
                "kind": "FeatureView",
                "metadata": {"name": "view"},
                "spec": {
                    "entity": {"name": "e", "joinKeys": [{"name": "k", "type": "string"}]},
                    "source": {"pipeline": "p"},
                    "timestampField": "ts",
                    "features": [{"name": "v", "type": "int64", "column": column}],
                },
            },
        )
        self.run()
        self.run()
        [row] = self.table(paths.dataset("p"))
        assert row["k"] == key
        times = [self.now]
        store = self.store(self.now)
        online = store.get_features(["view:v"], entities={"k": [key]}).to_dict()["v"]
        offline = store.get_features(
            ["view:v"], entities={"k": [key], "t": times}, timestamp_column="t"
        ).to_dict()["v"]
        assert online == offline
        return online[0]


def is_refused(root: str) -> bool:
    """Whether tables below such a root would not be found again."""
    return any(sign in root for sign in "#?\\") or "%20" in root


def line(key: str = "k") -> str:
    quoted = key.replace('"', '""')
    return f'"{quoted}",{(START - timedelta(hours=2)).isoformat()},7\n'


def write(place: str, text: str) -> None:
    with fsspec.open(place, "w") if "://" in place else open(place, "w") as file:
        file.write(text)


@pytest.mark.parametrize("name", NAMES)
def test_a_local_file_and_its_folder_and_a_key(tmp_path: Path, name: str) -> None:
    place = Place(tmp_path / "project", "root", "raw/**/*.csv")
    folder = tmp_path / "project" / "raw" / name
    if name.startswith("."):
        # A hidden folder is no finished one; the glob would have to spell it out.
        place.source = f"raw/{name}/*.csv"
    folder.mkdir()
    write(str(folder / f"f{name}.csv"), "k,ts,v\n" + line(name))
    assert place.take(name) == 7


@pytest.mark.parametrize("name", NAMES)
def test_a_project_folder(tmp_path: Path, name: str) -> None:
    if is_refused(name):
        with pytest.raises(SpecError, match="found again"):
            Place(tmp_path / name, "root", "raw/*.csv")
        assert not (tmp_path / name / "root").exists()
        return
    place = Place(tmp_path / name, "root", "raw/*.csv")
    write(str(tmp_path / name / "raw" / "a.csv"), "k,ts,v\n" + line())
    assert place.take() == 7


@pytest.mark.parametrize("name", NAMES)
def test_a_storage_root_in_object_storage(tmp_path: Path, s3_server: str, name: str) -> None:
    around = f"features/{uuid.uuid4().hex}"
    if is_refused(name):
        with pytest.raises(SpecError, match="found again"):
            Place(tmp_path / "project", f"s3://{around}/{name}", "raw/*.csv")
        assert fsspec.filesystem("s3").find(around) == []
        return
    place = Place(tmp_path / "project", f"s3://{around}/{name}", "raw/*.csv")
    write(str(tmp_path / "project" / "raw" / "a.csv"), "k,ts,v\n" + line())
    assert place.take() == 7
    found = fsspec.filesystem("s3").find(around)
    assert found
    assert all(path.startswith(f"{around}/{name}/") for path in found)


@pytest.mark.parametrize("name", NAMES)
def test_a_source_in_object_storage(tmp_path: Path, s3_server: str, name: str) -> None:
    around = f"features/{uuid.uuid4().hex}"
    # A name with signs of a pattern is spelled out as one.
    pattern = "".join(f"[{sign}]" if sign in "*?[" else sign for sign in name)
    place = Place(tmp_path / "project", "root", f"s3://{around}/{pattern}/*.csv")
    fsspec.filesystem("s3").pipe_file(f"{around}/{name}/f{name}.csv", ("k,ts,v\n" + line()).encode())
    assert place.take() == 7


@pytest.mark.parametrize("name", NAMES)
def test_a_column(tmp_path: Path, name: str) -> None:
    place = Place(tmp_path / "project", "root", "raw/*.csv")
    quoted = name.replace('"', '""')
    write(str(tmp_path / "project" / "raw" / "a.csv"), f'k,ts,"{quoted}"\n' + line())
    if not re.fullmatch(COLUMN_PATTERN, name):
        with pytest.raises(ValidationError, match="column"):
            place.take(column=name)
        return
    assert place.take(column=name) == 7
