"""Publishing within a memory bound: part by part, and as little as changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featurestore.online.duckdb import publication
from featurestore.online.duckdb.generations import GenerationIndex, folder_of
from featurestore.online.feature_rows import FeatureRows
from featurestore.online.key_range import KeyRange, KeySet
from featurestore.online.layout import Form
from featurestore.online.needed_rows import by_value, numbered, spans
from featurestore.online.publish import publish
from featurestore.online.shared_folder import FOLDER, shared_folder
from featurestore.protocol import PublishRequest
from featurestore.storage.delta import Table
from featurestore.views.schema import view_schema
from featurestore_transforms.tables.data_files import describe

MakeView = Callable[..., Any]
MakeRow = Callable[..., Any]
SUM = {"function": "Sum", "column": "x", "windows": ["1h"]}
FEATURES = [
    {"name": "x", "type": "int64", "column": "x"},
    {"name": "total", "type": "int64", "aggregate": SUM},
]
TINY = 4096
"""So little memory that a few rows are a part by themselves."""
KEYS = [(key, number) for key in ("", "a", "ab", "b", "é", "z") for number in (-2, 0, 7)]


def bring_up(things: Any, now_us: int, memory_bytes: int = 1 << 30) -> int:
    request = PublishRequest(
        root=things.storage.root, view=things.name, digest=things.digest, to_version=things.version, commit=1
    )
    result = publish(things.storage, things.online, request, Form.of(things.spec), now_us, memory_bytes)
    return result.entities


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, Any]]:
    """Rows that come and go, and publications with much or little memory."""
    row = st.tuples(st.sampled_from(KEYS), st.integers(0, 10**10), st.integers(-9, 9))
    come = st.tuples(st.just("add"), st.lists(row, min_size=1, max_size=5))
    go = st.tuples(st.just("remove"), st.sampled_from(KEYS))
    rest = st.tuples(st.sampled_from(["compact", "forget"]), st.none())
    bring = st.tuples(st.just("publish"), st.sampled_from([TINY, 1 << 30]))
    first = ("add", [(key, n, n) for n, key in enumerate(KEYS)])
    return [first, *draw(st.lists(st.one_of(come, come, go, rest, bring, bring), max_size=10))]


@settings(max_examples=examples(6), deadline=None, suppress_health_check=list(HealthCheck))
@given(history=histories())
@pytest.mark.parametrize("store", ["duckdb", "redis"])
def test_parts_and_deltas_read_as_one_full_publication(
    store: str, history: Any, view_in: MakeView, row: MakeRow, redis_server: str
) -> None:
    url = None if store == "duckdb" else redis_server
    things = view_in(url, FEATURES, keys={"k": "string", "n": "int32"})
    now = 10**10
    for batch, (step, what) in enumerate([*history, ("publish", TINY)]):
        if step == "add":
            things.add(
                *(
                    row(key, time, {"x": x, "__in_total": x}, at=(batch, 0, n))
                    for n, (key, time, x) in enumerate(what)
                )
            )
        elif step == "remove":
            things.remove(lambda each, gone=what: each.keys == gone)
        elif step == "compact":
            things.compact()
        elif step == "forget":
            things.online.index.forget_earlier(things.name, things.digest)
        else:
            now += 1000
            assert bring_up(things, now, what) == len({each.keys for each in things.rows})
            assert things.read(KEYS, now) == things.join(KEYS, [now])[0]
            assert things.online.inspect(things.name, things.digest, Form.of(things.spec)).sound


def shelf(things: Any) -> GenerationIndex:
    return GenerationIndex.list(things.storage, folder_of(things.name, things.digest))


def sizes(things: Any) -> dict[str, int]:
    folder = Path(things.storage.uri(folder_of(things.name, things.digest)))
    return {path.name: path.stat().st_size for path in folder.glob("*.duckdb")}


@pytest.fixture(autouse=True, scope="module")
def deltas_of_few() -> Iterator[None]:
    """Few entities make a delta, as else more do; and generations are mapped, as by the processes of a server."""
    with shared_folder() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setenv(FOLDER, str(folder))
        patched.setattr(publication, "_SMALL", 10)
        yield


@pytest.fixture
def many(view_in: MakeView, row: MakeRow) -> Any:
    """A view of 2,000 entities, embedded and published."""
    things = view_in(None)
    things.add(*(row((f"k{n}",), 1, {"x": n}, at=(1, 0, n)) for n in range(2000)))
    bring_up(things, 5)
    return things


def test_few_changed_entities_are_a_small_file_beside_the_others(many: Any, row: MakeRow) -> None:
    [(base, base_bytes)] = sizes(many).items()
    many.add(row(("k7",), 2, {"x": -7}, at=(2, 0, 0)), row(("new",), 2, {"x": 1}, at=(2, 0, 1)))
    assert bring_up(many, 6) == 2001
    [(_, delta_bytes)] = [it for it in sizes(many).items() if it[0] != base]
    assert delta_bytes < base_bytes / 4, "each column of each takes a block"
    newest = shelf(many).newest
    assert newest is not None
    assert [file.entities for file in newest.files] == [2000, 2]
    assert many.read([("k7",), ("k8",), ("new",)], 9)["x"] == [
        (-7, "PRESENT"),
        (8, "PRESENT"),
        (1, "PRESENT"),
    ]


def test_the_query_of_the_docs_shows_a_generation_with_deltas_as_readers_find_it(
    many: Any, row: MakeRow
) -> None:
    many.add(row(("k7",), 2, {"x": -7}, at=(2, 0, 0)), row(("new",), 2, {"x": 1}, at=(2, 0, 1)))
    assert bring_up(many, 6) == 2001
    newest = shelf(many).newest
    assert newest is not None
    base, delta = (file.name for file in newest.files)
    page = (Path(__file__).parents[2] / "docs" / "online-layout.md").read_text()
    query = page.partition("```sql\n")[2].partition("```")[0]
    for name, file in (("00000005-<uuid>.duckdb", base), ("00000007-<uuid>.duckdb", delta)):
        assert name in query
        folder = many.storage.uri(folder_of(many.name, many.digest))
        query = query.replace(name, f"{folder}/{file}")
    with duckdb.connect() as connection:
        shown = connection.sql(query.replace("aircraft-delays", many.name))
        values = {row["key"]: row["x"] for row in shown.to_arrow_table().to_pylist()}
        assert len(shown) == 2001
    assert values == {**{f"k{n}": n for n in range(2000)}, "k7": -7, "new": 1}


def test_a_publication_that_changes_no_entity_writes_no_file(many: Any) -> None:
    before = sizes(many)
    many.compact()
    assert bring_up(many, 6) == 2000
    assert sizes(many) == before


def test_deltas_that_grew_many_are_put_together_and_their_files_go(
    many: Any, row: MakeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publication, "_MOST_DELTAS", 2)
    for n in range(5):
        many.add(row((f"k{n}",), 2, {"x": -n}, at=(2 + n, 0, 0)))
        bring_up(many, 6 + n)
        newest = shelf(many).newest
        assert newest is not None
        assert len(newest.files) <= 3
    assert many.read([(f"k{n}",) for n in range(7)], 99)["x"] == [
        (-n if n < 5 else n, "PRESENT") for n in range(7)
    ]
    # Three generations stay, and what they are made of.
    assert len(sizes(many)) == 3


def test_rows_that_went_leave_no_byte_in_the_files_that_stay(many: Any, row: MakeRow) -> None:
    secret = "whoever-this-is"
    many.add(row((secret,), 2, {"x": 1}, at=(2, 0, 0)))
    bring_up(many, 6)
    many.remove(lambda each: each.keys == (secret,))
    bring_up(many, 7)
    many.online.index.forget_earlier(many.name, many.digest)
    folder = Path(many.storage.uri(folder_of(many.name, many.digest)))
    assert len(list(folder.iterdir())) == 2
    assert all(secret.encode() not in path.read_bytes() for path in folder.iterdir())


def test_a_reader_goes_on_with_the_generation_before_while_a_large_one_is_loaded(
    many: Any, row: MakeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    from threading import Event, Semaphore

    from featurestore.online.duckdb import online_reader
    from featurestore.online.duckdb.online_reader import NewestGeneration

    assert many.read([("k7",)], 9)["x"] == [(7, "PRESENT")]
    loaded, may_load, keep = Semaphore(0), Event(), NewestGeneration._keep

    def later(self: Any, *what: Any) -> None:
        assert may_load.wait(600)
        keep(self, *what)
        loaded.release()

    monkeypatch.setattr(online_reader, "_LOADED_AT_ONCE", 10)
    monkeypatch.setattr(NewestGeneration, "_keep", later)
    many.add(row(("k7",), 2, {"x": -7}, at=(2, 0, 0)))
    bring_up(many, 6)
    assert many.read([("k7",)], 9)["x"] == [(7, "PRESENT")]
    may_load.set()
    for _ in (many.online, "that of its client"):
        assert loaded.acquire(timeout=600)
    assert many.read([("k7",)], 9)["x"] == [(-7, "PRESENT")]


def test_what_is_held_at_once_does_not_grow_with_the_entities(view_in: MakeView, row: MakeRow) -> None:
    things = view_in(None)
    things.add(*(row((f"k{n:05}",), 1, {"x": n}, at=(1, 0, n)) for n in range(5000)))
    table = Table.open(things.storage, things.path, things.version)
    assert table is not None
    most = {}
    for memory_bytes in (1 << 18, 1 << 30):
        parts = list(FeatureRows(table, Form.of(things.spec), memory_bytes).stored(KeyRange(), 5))
        most[memory_bytes] = max(len(part) for part in parts)
        assert sum(len(part) for part in parts) == 5000
    assert most[1 << 30] == 5000
    assert most[1 << 18] < 500


def test_ranges_of_keys_share_no_entity_and_leave_none_out() -> None:
    keys = pa.table(
        {
            "k": pa.array([key for key, _ in KEYS]).dictionary_encode(),
            "n": pa.array([n for _, n in KEYS], pa.int32()),
        }
    )
    plain = keys.set_column(0, "k", keys.column("k").cast(pa.string()))
    sample = by_value(plain)
    for parts in range(1, 25):
        ranges = KeyRange().cut(sample, parts)
        masks = [[part.mask(table) for part in ranges] for table in (keys, plain)]
        assert np.array_equal(masks[0], masks[1])
        assert (np.sum(masks[0], axis=0) == 1).all()
        assert len(ranges) <= parts
        by_first = KeyRange.at([(key, 1) for key, _ in KEYS], parts)
        assert (np.sum([part.mask(keys) for part in by_first], axis=0) == 1).all()
        assert len(by_first) <= parts
    low, high = KeySet(sample).halves()
    assert (low.mask(keys) ^ high.mask(keys)).all()


def test_where_to_cut_is_told_by_files_that_are_sorted_and_by_no_other(view_in: MakeView) -> None:
    things = view_in(None)
    table = Table.create(things.storage, things.path, view_schema(things.spec))
    for number, keys in enumerate([["a", "b", "c", "c"], ["d", "a", "b", "c"]], 1):
        columns = {field.name: np.full(4, number) for field in table.schema} | {"k": keys}
        rows = pa.table(
            {field.name: pa.array(columns[field.name]).cast(field.type) for field in table.schema}
        )
        pq.write_table(rows, things.storage.uri(f"{things.path}/{number}.parquet"), row_group_size=1)
        file = describe(things.storage, things.path, f"{number}.parquet")
        table = table.commit(app_id=things.digest, number=number, add=[file], metadata={})
    groups = FeatureRows(table, Form.of(things.spec)).groups
    assert groups.starts("k") == [("a", 1), ("b", 1), ("c", 1), ("c", 1)]
    assert groups.starts("nothing") == []


def test_entities_are_numbered_alike_wherever_their_keys_are_alike() -> None:
    table = pa.table({"a": ["x", "x", "y", "x"], "b": pa.array([1, 2, 1, 1], pa.int32())})
    codes, entities = numbered(table, table.schema)
    assert [tuple(entities.to_pylist()[code].values()) for code in codes] == [
        ("x", 1),
        ("x", 2),
        ("y", 1),
        ("x", 1),
    ]
    assert entities.num_rows == 3


def test_one_thing_that_is_too_large_is_a_part_by_itself() -> None:
    assert list(spans(np.array([1, 99, 1, 1]), 10)) == [(0, 1), (1, 2), (2, 4)]
    assert list(spans(np.zeros(0, np.int64), 10)) == []


PEAK = """
import sys
import pyarrow as pa
from featurestore.online.publish import publish
from featurestore.online.backends import open_online
from featurestore.online.layout import Form
from featurestore.protocol import PublishRequest
from featurestore.registry.registry import Registry
from featurestore.resources import FeatureView
from featurestore.storage.objects import Storage
request = PublishRequest.model_validate_json(sys.argv[1])
storage = Storage(request.root)
registry = Registry(storage)
form = Form.of(registry.current(FeatureView, request.view).resource.spec)
online = open_online(storage, registry.store().spec)
print(publish(storage, online, request, form, 10, int(sys.argv[2])).entities, pa.default_memory_pool().max_memory())
"""


@pytest.mark.parametrize("online_url", ["duckdb", "redis"], indirect=True)
@pytest.mark.new_process
def test_what_arrow_holds_at_most_is_bounded_by_the_memory(
    online_url: str | None, view_in: MakeView, run_python: Any
) -> None:
    features = [{"name": f"f{n}", "type": "float64", "column": f"f{n}"} for n in range(10)]
    things = view_in(online_url, features)
    count, schema = 100_000, view_schema(things.spec)
    number = np.arange(count)
    columns = {field.name: np.zeros(count, np.int64) for field in schema} | {"k": number, "__row": number}
    rows = pa.table({field.name: pa.array(columns[field.name]).cast(field.type) for field in schema})
    table = Table.create(things.storage, things.path, schema)
    for half in range(2):
        name = f"{half}.parquet"
        part = rows.slice(half * count // 2, count // 2)
        pq.write_table(part, things.storage.uri(f"{things.path}/{name}"), row_group_size=4096)
        file = describe(things.storage, things.path, name)
        table = table.commit(app_id=things.digest, number=half + 1, add=[file], metadata={})
    request = PublishRequest(
        root=things.storage.root, view=things.name, digest=things.digest, to_version=table.version, commit=1
    )
    done = run_python("-c", PEAK, request.model_dump_json(), str(16 << 20))
    entities, most_bytes = map(int, done.stdout.split())
    assert entities == count
    assert most_bytes < 16 << 20, most_bytes
