"""What both online stores promise of publishing: from any version to a later one, killed, doubled or lost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from examples import exhaustive

from featurestore.errors import Conflict, NotFound, StorageError
from featurestore.online.layout import Form
from featurestore.resources.redis_url import RedisUrl
from featurestore.storage.delta import Table

MakeView = Callable[..., Any]
MakeRow = Callable[..., Any]

PUBLISH = """
import json, sys
from featurestore.protocol import PublishRequest
from featurestore.online.publish import run_publish
from featurestore.storage.objects import Storage
request = PublishRequest.model_validate_json(sys.argv[1])
print(run_publish(Storage(request.root), request, int(sys.argv[2])).model_dump_json())
"""
READ = """
import json, sys
from featurestore.resources import FeatureView
from featurestore.resources.outputs import outputs
from featurestore.online.backends import open_online
from featurestore.online.reading import OnlineQuery
from featurestore.registry.registry import Registry
from featurestore.storage.objects import Storage
root, view, digest = sys.argv[1:]
storage = Storage(root)
registry = Registry(storage)
spec = registry.current(FeatureView, view).resource.spec
online = open_online(storage, registry.store().spec)
reader = online.reader([OnlineQuery(view, spec, digest, outputs(spec))])
for line in sys.stdin:
    [values] = reader.read([[key.encode() for key in json.loads(line)]], 1000)
    print(json.dumps(values.columns["x"].to_list()), flush=True)
"""


def values(things: Any, *keys: str, now: int = 1000) -> list[Any]:
    return [value for value, _ in things.read([(key,) for key in keys], now)["x"]]


def request_of(things: Any, to_version: int | None = None) -> str:
    return json.dumps(
        {
            "kind": "publish",
            "root": things.storage.root,
            "view": things.name,
            "digest": things.digest,
            "to_version": things.version if to_version is None else to_version,
            "commit": 1,
        }
    )


def test_a_view_that_was_never_published_is_not_read_as_empty(view: MakeView, row: MakeRow) -> None:
    things = view()
    things.add(row(("a",), 1, {"x": 1}))
    assert things.online.index.version(things.name, things.digest) is None
    with pytest.raises(StorageError, match="does not hold"):
        things.read([("a",)], 1)


def test_the_store_says_which_version_it_holds_and_of_how_many_entities(view: MakeView, row: MakeRow) -> None:
    things = view()
    first = things.add(row(("a",), 1, {"x": 1}), row(("b",), 1, {"x": 1}))
    result = things.publish(5)
    assert (result.version, result.entities, result.finished_us) == (first, 2, 5)
    second = things.add(row(("b",), 2, {"x": 2}), row(("c",), 1, {"x": 1}))
    result = things.publish(6)
    assert (result.version, result.entities) == (second, 3)
    assert things.online.index.version(things.name, things.digest).version == second
    held = things.online.index.version(things.name, things.digest)
    assert (held.version, held.entities) == (second, 3)


def test_publishing_what_is_held_already_changes_nothing(view: MakeView, row: MakeRow) -> None:
    things = view()
    things.add(row(("a",), 1, {"x": 1}))
    newer = things.add(row(("a",), 2, {"x": 2}))
    things.publish(5)
    assert things.publish(6).version == newer
    assert things.publish(7, to_version=newer - 1).version == newer
    assert values(things, "a") == [2]


def test_an_empty_view_is_held_and_knows_no_entity(view: MakeView) -> None:
    things = view()
    assert things.publish(5).entities == 0
    assert things.read([("a",)], 5)["x"] == [(None, "NOT_FOUND")]


def test_entities_without_new_rows_keep_their_values(view: MakeView, row: MakeRow) -> None:
    things = view()
    things.add(*(row((f"k{n}",), 1, {"x": n}, at=(1, 0, n)) for n in range(5000)))
    things.publish(5)
    things.add(row(("k7",), 2, {"x": -7}, at=(2, 0, 0)))
    assert things.publish(6).entities == 5000
    assert values(things, "k6", "k7", "k4999") == [6, -7, 4999]


def test_rows_that_go_are_not_served_any_more(view: MakeView, row: MakeRow) -> None:
    things = view()
    things.add(*(row((key,), 1, {"x": 1}, at=(1, 0, n)) for n, key in enumerate("abc")))
    things.add(row(("a",), 2, {"x": 2}, at=(2, 0, 0)), row(("d",), 2, {"x": 2}, at=(2, 0, 1)))
    things.publish(5)
    things.remove(lambda each: each.event == 2 or each.keys == ("b",))
    assert things.publish(6).entities == 2
    assert things.read([(key,) for key in "abcd"], 6)["x"] == [
        (1, "PRESENT"),
        (None, "NOT_FOUND"),
        (1, "PRESENT"),
        (None, "NOT_FOUND"),
    ]


def test_rows_that_go_and_rows_that_come_in_between_are_both_seen(view: MakeView, row: MakeRow) -> None:
    things = view()
    things.add(row(("a",), 1, {"x": 1}), row(("b",), 1, {"x": 1}, at=(1, 0, 1)))
    things.add(row(("b",), 2, {"x": 2}, at=(2, 0, 0)))
    things.publish(5)
    things.remove(lambda each: each.keys == ("b",) and each.event == 2)
    things.add(row(("b",), 3, {"x": 3}, at=(3, 0, 0)), row(("c",), 3, {"x": 3}, at=(3, 0, 1)))
    things.compact()
    things.publish(6)
    assert values(things, "a", "b", "c") == [1, 3, 3]


def test_a_compaction_changes_no_value(view: MakeView, row: MakeRow) -> None:
    things = view()
    for n in range(3):
        things.add(row(("a",), n, {"x": n}, at=(n, 0, 0)))
    things.publish(5)
    version = things.compact()
    result = things.publish(6)
    assert (result.version, result.entities) == (version, 1)
    assert values(things, "a") == [2]


def test_a_base_that_was_cleaned_up_is_no_obstacle(view: MakeView, row: MakeRow) -> None:
    things = view()
    things.add(row(("a",), 1, {"x": 1}), row(("b",), 1, {"x": 1}, at=(1, 0, 1)))
    things.publish(5)
    [gone] = things.files
    things.remove(lambda each: each.keys == ("b",))
    Path(things.storage.uri(f"{things.path}/{gone}")).unlink()
    assert things.publish(6).entities == 1
    assert values(things, "a", "b") == [1, None]


def test_a_version_that_the_view_does_not_have_is_an_error(view: MakeView, row: MakeRow) -> None:
    things = view()
    version = things.add(row(("a",), 1, {"x": 1}))
    with pytest.raises(StorageError):
        things.publish(5, to_version=version + 1)


def test_a_build_that_nobody_wants_is_not_published(view: MakeView, row: MakeRow) -> None:
    things = view()
    things.add(row(("a",), 1, {"x": 1}))
    things.digest = "0123456789abcdef"
    with pytest.raises(NotFound, match="no definition"):
        things.publish(5, to_version=1)


def test_a_dropped_build_is_gone_and_others_stay(
    online_url: str | None, view_in: MakeView, row: MakeRow, tmp_path: Path
) -> None:
    one, two = (view_in(online_url, name=name, root=tmp_path) for name in ("view", "view-2"))
    for things in (one, two):
        things.add(*(row((f"k{n}",), 1, {"x": n}, at=(1, 0, n)) for n in range(3000)))
        things.publish(5)
    one.online.index.delete(one.name, one.digest)
    one.online.index.delete(one.name, one.digest)
    assert one.online.index.version(one.name, one.digest) is None
    with pytest.raises(StorageError):
        values(one, "k1")
    assert values(two, "k2999") == [2999]


def test_a_store_that_was_lost_is_made_anew_by_the_next_publication(
    view: MakeView, row: MakeRow, online_url: str | None
) -> None:
    things = view()
    things.add(row(("a",), 1, {"x": 1}))
    things.publish(5)
    assert values(things, "a") == [1]
    lose(things, online_url)
    assert things.online.index.version(things.name, things.digest) is None
    with pytest.raises(StorageError, match="does not hold"):
        values(things, "a")
    things.add(row(("b",), 1, {"x": 2}, at=(2, 0, 0)))
    assert things.publish(6).entities == 2
    assert values(things, "a", "b") == [1, 2]


def lose(things: Any, online_url: str | None) -> None:
    if online_url is None:
        things.storage.delete("online")
    else:
        from redis import Redis

        for host, port in RedisUrl.parse(online_url).nodes:
            with Redis(host, port) as client:
                client.flushall()


@pytest.mark.parametrize("online_url", ["duckdb", "redis"], indirect=True)
def test_the_process_that_reads_sees_each_publication_without_restart(
    view: MakeView, row: MakeRow, online_url: str | None
) -> None:
    things = view()
    things.add(row(("a",), 1, {"x": 1}))
    things.publish(5)
    command = [sys.executable, "-c", READ, things.storage.root, things.name, things.digest]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        for n in range(2, 8):
            reader.stdin.write('["a", "b"]\n')
            reader.stdin.flush()
            assert json.loads(reader.stdout.readline()) == [n - 1, None]
            things.add(row(("a",), n, {"x": n}, at=(n, 0, 0)))
            things.publish(5)
        lose(things, online_url)
        things.add(row(("b",), 1, {"x": 100}, at=(9, 0, 0)))
        things.publish(5)
        reader.stdin.write('["a", "b"]\n')
        reader.stdin.close()
        assert json.loads(reader.stdout.readline()) == [7, 100]
    assert reader.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("online_url", ["duckdb", "redis"], indirect=True)
@pytest.mark.parametrize("kill_at", ["during-publish", "after-publish"])
def test_a_killed_publication_leaves_whole_entities_and_the_next_one_repairs(
    view: MakeView, row: MakeRow, run_python: Any, kill_at: str
) -> None:
    keys = [f"k{n}" for n in range(2500)]
    things = view([{"name": name, "type": "int64", "column": name} for name in ("x", "y")])
    things.add(*(row((key,), 1, {"x": 1, "y": 1}, at=(1, 0, n)) for n, key in enumerate(keys)))
    before = things.publish(5).version
    things.add(*(row((key,), 2, {"x": 2, "y": 2}, at=(2, 0, n)) for n, key in enumerate(keys)))
    run_python("-c", PUBLISH, request_of(things), "6", kill_at=kill_at)
    seen = things.read([(key,) for key in keys], 10)
    assert seen["x"] == seen["y"]
    assert {value for value, _ in seen["x"]} <= {1, 2}
    held = things.online.index.version(things.name, things.digest)
    assert held is not None
    assert held.version == (things.version if kill_at == "after-publish" else before)
    # What the killed one has put may be gone from the view meanwhile, without a trace in its newer files.
    things.remove(lambda each: each.event == 2 and int(each.keys[0][1:]) % 2 == 0)
    assert things.publish(7).entities == 2500
    assert values(things, *keys) == [1 if n % 2 == 0 else 2 for n in range(2500)]


@pytest.mark.slow
def test_entities_that_only_a_killed_publication_put_are_forgotten(
    view: MakeView, row: MakeRow, run_python: Any
) -> None:
    things = view()
    things.add(row(("old",), 1, {"x": 1}))
    things.publish(5)
    things.add(*(row((f"k{n}",), 2, {"x": 2}, at=(2, 0, n)) for n in range(1500)))
    run_python("-c", PUBLISH, request_of(things), "6", kill_at="during-publish")
    things.remove(lambda each: each.event == 2)
    result = things.publish(7)
    assert result.entities == 1
    assert values(things, "old", *(f"k{n}" for n in range(1500))) == [1] + [None] * 1500


@pytest.mark.slow
@pytest.mark.parametrize("online_url", ["duckdb", "redis"], indirect=True)
def test_the_first_publication_can_be_killed_too(view: MakeView, row: MakeRow, run_python: Any) -> None:
    things = view()
    things.add(*(row((f"k{n}",), 2, {"x": n}, at=(2, 0, n)) for n in range(1500)))
    run_python("-c", PUBLISH, request_of(things), "6", kill_at="during-publish")
    assert things.online.index.version(things.name, things.digest) is None
    things.remove(lambda each: each.keys == ("k0",))
    assert things.publish(7).entities == 1499
    assert values(things, "k0", "k1", "k1499") == [None, 1, 1499]


def test_of_two_publications_at_once_one_ends_with_a_conflict_and_loses_nothing(
    view: MakeView, row: MakeRow
) -> None:
    things = view()
    older = things.add(row(("a",), 1, {"x": 1}))
    form = Form.of(things.spec)
    slow = things.online.publication(things.name, things.digest, form, older, 1 << 30)
    newer = things.add(row(("a",), 2, {"x": 2}), row(("b",), 2, {"x": 2}, at=(2, 0, 1)))
    assert things.publish(5).version == newer
    late = offline_stored(things, older, form)
    with pytest.raises(Conflict):
        finish(slow, late)
    assert values(things, "a", "b") == [2, 2]
    assert things.online.index.version(things.name, things.digest).version == newer


def offline_stored(things: Any, version: int, form: Form) -> Any:
    from featurestore.online.feature_rows import FeatureRows
    from featurestore.online.key_range import KeyRange

    table = Table.open(things.storage, things.path, version)
    assert table is not None
    offline = FeatureRows(table, form)
    [stored] = offline.stored(KeyRange(), 5)
    return stored


def finish(publication: Any, stored: Any) -> None:
    with publication:
        publication.begin_anew()
        publication.put(stored)
        publication.finish()


@pytest.mark.slow
def test_two_who_publish_at_once_leave_the_newest_version(
    view: MakeView, row: MakeRow, online_url: str | None
) -> None:
    things = view()
    keys = [f"k{n}" for n in range(3000)]
    for n in range(6 if exhaustive() else 3):
        things.add(*(row((key,), n, {"x": n}, at=(n, 0, place)) for place, key in enumerate(keys)))
        with ThreadPoolExecutor(2) as threads:
            tries = [threads.submit(things.publish, 9) for _ in range(2)]
        failures = [error for error in (done.exception() for done in tries) if error is not None]
        assert all(isinstance(error, Conflict) for error in failures)
        if len(failures) == 2:
            # Only in a cluster: each had begun first at some of the masters.
            assert str(online_url).startswith("redis+cluster://")
            things.publish(9)
        assert set(values(things, *keys)) == {n}
