"""What is the embedded store's own: generations beside each other, on disk and in object storage."""

from __future__ import annotations

import gc
import json
import os
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from examples import exhaustive

from featurestore.errors import StorageError
from featurestore.online.duckdb import online_reader
from featurestore.online.duckdb.generations import KEPT, GenerationIndex
from featurestore.online.duckdb.online_reader import NewestGeneration
from featurestore.online.duckdb.store import DuckDBPublication, DuckDBStore
from featurestore.online.entities import Section, Stored
from featurestore.online.layout import Form
from featurestore.online.reading import OnlineQuery
from featurestore.online.versions import OnlineVersion
from featurestore.storage.objects import Storage

MakeView = Callable[..., Any]
MakeRow = Callable[..., Any]
FOLDER = "online/things/d"
MEMORY = 1 << 30


@pytest.fixture
def spec(view_in: MakeView) -> Any:
    return view_in(None).spec


class Clock:
    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


def put(storage: Storage, spec: Any, version: int, *, kill: bool = False) -> None:
    """Publish one entity whose value is the version."""
    form = Form.of(spec)
    row = dict.fromkeys(form.sections[0].names, version)
    rows = pa.Table.from_pylist([row], schema=form.sections[0]).to_batches()[0]
    sections = (Section(np.zeros(1, np.int32), rows), Section.empty(form.sections[1]))
    stored = Stored(pa.array([b"a"], pa.binary()), np.zeros(1, np.int64), sections)
    with DuckDBPublication(GenerationIndex.list(storage, FOLDER), form, version, MEMORY) as publication:
        publication.begin_anew()
        publication.put(stored)
        if kill:
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(GenerationIndex, "publish", _killed)
                with pytest.raises(KeyboardInterrupt):
                    publication.finish()
            return
        publication.finish()


def _killed(*_: Any) -> bool:
    raise KeyboardInterrupt


def read(store: DuckDBStore, spec: Any) -> Any:
    from featurestore.resources.outputs import outputs

    [values] = store.reader([OnlineQuery("things", spec, "d", outputs(spec))]).read([[b"a"]], 10**9)
    return values.columns["x"].to_list()[0]


def test_readers_on_any_storage_see_the_next_generation(storage: Storage, spec: Any) -> None:
    clock = Clock()
    store = DuckDBStore(storage, clock)
    for version in range(1, 2 * KEPT + 2):
        put(storage, spec, version)
        clock.s += 1
        assert read(store, spec) == version
        assert store.index.version("things", "d") == OnlineVersion(version, 1)


def test_a_person_opens_a_generation_and_finds_features_by_their_names(local_root: str, spec: Any) -> None:
    put(Storage(local_root), spec, 7)
    [file] = Path(local_root, FOLDER).glob("*.duckdb")
    with duckdb.connect(str(file), read_only=True) as connection:
        found = connection.sql("FROM things").to_arrow_table().to_pylist()
        rows = connection.sql("SELECT key, x FROM rows").fetchall()
    assert [(it["key"], it["x"], it["event_timestamp"].year) for it in found] == [("a", 7, 1970)]
    assert rows == [("a", 7)]


def test_names_that_are_one_to_duckdb_are_told_apart_in_a_generation(
    local_root: str, view_in: MakeView
) -> None:
    features = [
        {"name": name, "type": "int64", "column": "x"} for name in ("key", "KEY_2", "rowid", "select")
    ]
    put(Storage(local_root), view_in(None, features=features).spec, 7)
    [file] = Path(local_root, FOLDER).glob("*.duckdb")
    with duckdb.connect(str(file), read_only=True) as connection:
        [found] = connection.sql("FROM things").to_arrow_table().to_pylist()
    assert {name: found[name] for name in ("key_2", "KEY_2_2", "rowid", "select")} == dict.fromkeys(
        ("key_2", "KEY_2_2", "rowid", "select"), 7
    )


def test_in_object_storage_readers_look_once_a_second(s3_root: str, spec: Any) -> None:
    storage, clock = Storage(s3_root), Clock()
    store = DuckDBStore(storage, clock)
    put(storage, spec, 1)
    assert read(store, spec) == 1
    put(storage, spec, 2)
    clock.s += 0.9
    assert read(store, spec) == 1
    clock.s += 0.2
    assert read(store, spec) == 2


def test_a_reader_that_slept_through_many_generations_reads_the_newest(storage: Storage, spec: Any) -> None:
    clock = Clock()
    store = DuckDBStore(storage, clock)
    put(storage, spec, 1)
    assert read(store, spec) == 1
    for version in range(2, 3 * KEPT):
        put(storage, spec, version)
    clock.s += 1
    assert read(store, spec) == 3 * KEPT - 1


def test_old_generations_and_what_killed_publishers_left_are_removed(storage: Storage, spec: Any) -> None:
    for version in range(1, (4 if exhaustive() else 2) * KEPT):
        put(storage, spec, version, kill=True)
        put(storage, spec, version)
    names = storage.names(FOLDER)
    assert len([name for name in names if name.endswith(".json")]) == KEPT
    assert len([name for name in names if name.endswith(".duckdb")]) == 2 * KEPT
    storage.delete("online")
    assert storage.names(FOLDER) == []


def test_a_reader_goes_on_with_what_it_has_while_storage_does_not_answer(
    s3_root: str, spec: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, clock = Storage(s3_root), Clock()
    store = DuckDBStore(storage, clock)
    put(storage, spec, 1)
    assert read(store, spec) == 1
    away = Storage("s3://there-is-no-such-bucket/x")
    [newest] = store._newest.values()
    newest._storage = away
    clock.s += 2
    assert read(store, spec) == 1
    with pytest.raises(StorageError):
        read(DuckDBStore(away, clock), spec)
    newest._storage = storage
    put(storage, spec, 2)
    clock.s += 2
    assert read(store, spec) == 2


def test_one_read_loads_a_generation_for_all_that_wait(
    local_root: str, spec: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, loads, start = Storage(local_root), [], Barrier(8)
    store, load = DuckDBStore(storage), online_reader.load

    def counted(*what: Any) -> Any:
        loads.append(what)
        return load(*what)

    def read_at_once(_: int) -> Any:
        start.wait(600)
        return read(store, spec)

    monkeypatch.setattr(online_reader, "load", counted)
    with ThreadPoolExecutor(8) as threads:
        for version in (1, 2):
            put(storage, spec, version)
            assert list(threads.map(read_at_once, range(8))) == [version] * 8
            assert len(loads) == version


def test_while_object_storage_is_slow_one_read_waits_and_the_others_go_on(
    s3_root: str, spec: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, clock, looks, answers = Storage(s3_root), Clock(), Event(), Event()
    store, listed = DuckDBStore(storage, clock), GenerationIndex.list

    def slow(*where: Any) -> GenerationIndex:
        looks.set()
        assert answers.wait(600)
        return listed(*where)

    put(storage, spec, 1)
    assert read(store, spec) == 1
    put(storage, spec, 2)
    clock.s += 2
    monkeypatch.setattr(GenerationIndex, "list", slow)
    with ThreadPoolExecutor(1) as thread:
        waits = thread.submit(read, store, spec)
        assert looks.wait(600)
        assert read(store, spec) == 1
        answers.set()
        assert waits.result(600) == 2
    assert read(store, spec) == 2


def test_a_view_that_is_read_by_several_keys_is_read_from_one_generation(
    local_root: str, spec: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from featurestore.resources.outputs import outputs

    storage, get = Storage(local_root), NewestGeneration.get
    put(storage, spec, 1)

    def overtaken(newest: Any) -> Any:
        loaded = get(newest)
        put(storage, spec, loaded.generation.version + 1)
        return loaded

    monkeypatch.setattr(NewestGeneration, "get", overtaken)
    query = OnlineQuery("things", spec, "d", outputs(spec))
    one, other = DuckDBStore(storage).reader([query, query]).read([[b"a"], [b"a", b"b"]], 10**9)
    assert (one.columns["x"].to_list(), other.columns["x"].to_list()) == ([1], [1, None])
    assert one.version == other.version == 1


def test_a_build_that_another_took_the_place_of_is_let_go(local_root: str, spec: Any) -> None:
    from featurestore.resources.outputs import outputs

    storage = Storage(local_root)
    store = DuckDBStore(storage)
    put(storage, spec, 1)
    assert read(store, spec) == 1
    [newest] = store._newest.values()
    loaded = weakref.ref(newest.get())
    del newest
    store.reader([OnlineQuery("others", spec, "e", outputs(spec))])
    assert loaded() is not None
    store.reader([OnlineQuery("things", spec, "e", outputs(spec))])
    gc.collect()
    assert loaded() is None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_process_that_was_forked_while_a_generation_was_loaded_reads(local_root: str, spec: Any) -> None:
    storage = Storage(local_root)
    store = DuckDBStore(storage)
    put(storage, spec, 1)
    assert read(store, spec) == 1
    put(storage, spec, 2)
    [newest] = store._newest.values()
    with newest._turn:
        child = os.fork()
        if not child:
            try:
                os._exit(0 if read(store, spec) == 2 else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert read(store, spec) == 2


def test_a_generation_of_another_layout_is_not_read_and_the_next_one_stands_behind_it(
    local_root: str, spec: Any
) -> None:
    storage = Storage(local_root)
    put(storage, spec, 1)
    other = {"layout": 99, "version": 9, "entities": 1, "file": "whatever"}
    storage.replace(f"{FOLDER}/00000002.json", json.dumps(other).encode())
    store = DuckDBStore(storage)
    assert store.index.version("things", "d") is None
    with pytest.raises(StorageError, match="does not hold"):
        read(store, spec)
    put(storage, spec, 3)
    assert read(store, spec) == 3


@pytest.mark.parametrize("damage", ["lost", "cut short", "not a database"])
def test_a_generation_whose_file_is_damaged_is_an_error_and_made_anew(
    local_root: str, spec: Any, damage: str
) -> None:
    storage = Storage(local_root)
    put(storage, spec, 1)
    [path] = Path(local_root, FOLDER).glob("*.duckdb")
    if damage == "lost":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:5000] if damage == "cut short" else b"no" * 9000)
    with pytest.raises(StorageError):
        read(DuckDBStore(storage), spec)
    with DuckDBPublication(GenerationIndex.list(storage, FOLDER), Form.of(spec), 2, MEMORY) as publication:
        assert publication.bases is None
    put(storage, spec, 2)
    assert read(DuckDBStore(storage), spec) == 2


def test_a_store_that_was_lost_and_made_anew_is_not_taken_for_the_old_one(local_root: str, spec: Any) -> None:
    storage = Storage(local_root)
    store = DuckDBStore(storage)
    put(storage, spec, 1)
    assert read(store, spec) == 1
    storage.delete("online")
    put(storage, spec, 5)
    assert read(store, spec) == 5
