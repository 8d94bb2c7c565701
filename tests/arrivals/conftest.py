"""Arrivals, manifests and source folders, made short."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.files.listing import list_arrivals
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.manifest import Entry, Manifest
from featurestore.resources.data_pipeline import Source
from featurestore.storage.filesystem import filesystem
from featurestore.storage.objects import Storage


@dataclass(frozen=True)
class SourceFolder:
    """A folder that files are dropped into, local or in object storage."""

    url: str

    def put(self, path: str, content: bytes = b"x") -> str:
        fs, root = filesystem(self.url)
        fs.makedirs(f"{root}/{path}".rpartition("/")[0], exist_ok=True)
        fs.pipe_file(f"{root}/{path}", content)
        return f"{self.url}/{path}"

    def put_empty(self, *paths: str) -> None:
        """Many at once, without content."""
        fs, root = filesystem(self.url)
        for folder in {path.rpartition("/")[0] for path in paths}:
            fs.makedirs(f"{root}/{folder}", exist_ok=True)
        fs.pipe({f"{root}/{path}": b"" for path in paths})

    def remove(self, path: str) -> None:
        fs, root = filesystem(self.url)
        fs.rm(f"{root}/{path}")

    def source(self, glob: str) -> Source:
        return Source.model_validate({"uri": f"{self.url}/{glob}", "format": "CSV"})

    def names(self, glob: str) -> list[str]:
        """Paths below the folder that a listing gives, in its order."""
        return [arrival.uri.removeprefix(f"{self.url}/") for arrival in list_arrivals(self.source(glob))]


@pytest.fixture
def local_folder(tmp_path: Path) -> SourceFolder:
    os.mkdir(tmp_path / "raw")
    return SourceFolder(str(tmp_path / "raw"))


@pytest.fixture(params=["local", "s3"])
def folder(request: pytest.FixtureRequest) -> SourceFolder:
    if request.param == "local":
        found = request.getfixturevalue("local_folder")
        assert isinstance(found, SourceFolder)
        return found
    return SourceFolder(f"{request.getfixturevalue('s3_root')}/raw")


def arrival(uri: str, version: str = "v1", *, size_bytes: int = 1, modified_us: int = 0) -> Arrival:
    return Arrival(uri, version, size_bytes, modified_us)


@pytest.fixture(name="arrival")
def arrival_fixture() -> Callable[..., Arrival]:
    """``arrival(uri, version="v1", *, size_bytes=1, modified_us=0)``."""
    return arrival


@pytest.fixture
def ledger(local_root: str) -> Ledger:
    return Ledger(Storage(local_root), "flights")


@pytest.fixture
def take() -> Callable[[Ledger, Iterable[Entry]], Manifest]:
    """Writes the next manifest with these entries, and asserts that it is written."""

    def take(ledger: Ledger, entries: Iterable[Entry]) -> Manifest:
        manifest = Manifest("flights", ledger.uid(), ledger.last_batch() + 1, "spec", 0, tuple(entries))
        assert ledger.try_append(manifest)
        return manifest

    return take
