"""Processes of one server share a generation, and nothing that is torn or of another one is ever read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from featurestore.online.duckdb.generations import folder_of
from featurestore.online.duckdb.online_reader import NewestGeneration
from featurestore.online.duckdb.store import DuckDBStore
from featurestore.online.layout import Form
from featurestore.online.reading import OnlineQuery
from featurestore.online.shared_folder import FOLDER, shared_folder
from featurestore.resources.outputs import outputs

MakeView = Callable[..., Any]
MakeRow = Callable[..., Any]
FEATURES = [
    {"name": "x", "type": "int64", "column": "x"},
    {"name": "text", "type": "string", "column": "text"},
    {"name": "flag", "type": "bool", "column": "flag"},
    {"name": "several", "type": "list<float64>", "column": "several"},
    {
        "name": "total",
        "type": "int64",
        "aggregate": {"function": "Sum", "column": "x", "windows": ["1h"]},
    },
]
ASKED = [(f"k{n}",) for n in range(60)]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with shared_folder() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setenv(FOLDER, str(folder))
        yield folder


@pytest.fixture
def things(view_in: MakeView, row: MakeRow, folder: Path) -> Any:
    """A view of 50 entities with nulls, published; its answers are those of its files."""
    things = view_in(None, FEATURES)
    things.add(
        *(
            row(
                (f"k{n}",),
                n,
                {
                    "x": n if n % 3 else None,
                    "text": None if n % 4 == 0 else "é" * n,
                    "flag": n % 2 == 0,
                    "several": [1.5 * n, None] if n % 5 else None,
                    "__in_total": n,
                },
                at=(1, 0, n),
            )
            for n in range(50)
        )
    )
    things.publish(10**6)
    return things


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.arrow"), key=lambda path: path.stat().st_mtime_ns)


def of_another_process(things: Any, now: int) -> Any:
    """What a process that has read nothing yet answers."""
    query = OnlineQuery(things.name, things.spec, things.digest, outputs(things.spec))
    [values] = DuckDBStore(things.storage).reader([query]).read([[key.encode() for (key,) in ASKED]], now)
    return {name: column.to_list() for name, column in values.columns.items()}


def test_a_mapped_generation_answers_as_the_one_in_memory_does(
    things: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, mapped = of_another_process(things, 10**6), of_another_process(things, 10**6)
    monkeypatch.delenv(FOLDER)
    assert of_another_process(things, 10**6) == first == mapped
    assert [path.stat().st_mode & 0o077 for path in files(folder)] == [0] * len(files(folder)) != []
    assert things.read(ASKED, 10**6) == things.join(ASKED, [10**6])[0]


@pytest.mark.parametrize("harm", ["torn", "emptied", "turned over", "of another", "without room"])
def test_what_is_torn_or_of_another_generation_is_loaded_anew(
    harm: str, things: Any, row: MakeRow, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = of_another_process(things, 10**6)
    [*_, path] = files(folder)
    data = path.read_bytes()
    path.unlink()
    if harm == "without room":
        monkeypatch.setenv(FOLDER, str(folder / "gone"))
    elif harm == "of another":
        things.add(*(row((f"k{n}",), 100, {"x": -1}, at=(2, 0, n)) for n in range(50)))
        things.publish(10**6)
        right = of_another_process(things, 10**6)
        files(folder)[-1].write_bytes(data)
    else:
        middle = len(data) // 2
        turned = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        path.write_bytes({"torn": data[:middle], "emptied": b"", "turned over": turned}[harm])
    assert of_another_process(things, 10**6) == right


def test_the_file_goes_with_the_next_generation_and_who_mapped_it_reads_on(
    things: Any, row: MakeRow, folder: Path
) -> None:
    newest = NewestGeneration(
        things.storage, folder_of(things.name, things.digest), Form.of(things.spec), lambda: 0
    )
    before = newest.get()
    [*_, path] = files(folder)
    things.add(row(("k1",), 100, {"x": -7}, at=(2, 0, 0)))
    things.publish(10**6)
    query = OnlineQuery(things.name, things.spec, things.digest, outputs(things.spec))
    assert newest.get().read(query, [b"k1"], 10**6).columns["x"].to_list()[0] == -7
    assert not path.exists()
    assert before.read(query, [b"k1"], 10**6).columns["x"].to_list()[0] == 1


READER = """
import sys
from pathlib import Path
from featurestore.online.duckdb.generations import folder_of
from featurestore.online.duckdb.online_reader import NewestGeneration
from featurestore.online.layout import Form
from featurestore.registry.registry import Registry
from featurestore.resources import FeatureView
from featurestore.storage.objects import Storage
storage = Storage(sys.argv[1])
form = Form.of(Registry(storage).current(FeatureView, sys.argv[2]).resource.spec)
loaded = NewestGeneration(storage, folder_of(sys.argv[2], sys.argv[3]), form, lambda: 0.0).get()
print("loaded", flush=True)
sys.stdin.readline()
lines = iter(Path("/proc/self/smaps").read_text().splitlines())
for line in lines:
    if ".arrow" in line:
        facts = dict(next(lines).split()[:2] for _ in range(6))
        print(facts["Rss:"], facts["Pss:"], flush=True)
sys.stdin.readline()
"""


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux tells of shared pages")
@pytest.mark.new_process
def test_two_processes_hold_the_pages_of_a_generation_once(
    view_in: MakeView, row: MakeRow, folder: Path
) -> None:
    things = view_in(None)
    things.add(*(row((f"k{n}",), 1, {"x": n}, at=(1, 0, n)) for n in range(20_000)))
    things.publish(5)
    command = [sys.executable, "-c", READER, things.storage.root, things.name, things.digest]
    readers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    try:
        for reader in readers:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "loaded\n"
        for reader in readers:
            assert reader.stdin is not None
            assert reader.stdout is not None
            reader.stdin.write("\n")
            reader.stdin.flush()
            held, share = map(int, reader.stdout.readline().split())
            assert held * 1024 > files(folder)[-1].stat().st_size * 0.9
            assert share <= held * 0.6
    finally:
        for reader in readers:
            reader.communicate("\n\n", timeout=600)


def test_what_a_killed_server_left_goes_when_the_next_one_starts(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tempfile.tempdir", str(tmp_path))
        left = tmp_path / "featurestore-generations-of-a-killed-one"
        left.mkdir()
        (left / "alive").touch()
        with shared_folder() as living:
            assert not left.exists()
            with shared_folder() as other:
                assert living.exists()
                assert other != living
        assert list(tmp_path.iterdir()) == []
