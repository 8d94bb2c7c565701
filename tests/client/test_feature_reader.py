"""A prepared read: what it answers, from where it may be called, and what it follows."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import redis
from examples import exhaustive

from featurestore.errors import NotFound, RequestError, StorageError
from featurestore.registry.registry import Registry
from featurestore.resources import FeatureStore
from featurestore.views.value_status import Status

FEATURES = ["delays:delay", "delays:note", "delays:flights_1d"]
SECOND = 1_000_000
TAILS = ["N2", "N9", None, "N1"]
DELAYS = [-7, None, None, None]


@pytest.mark.parametrize("times", [1, 20])
def test_each_form_of_an_answer_has_the_same_values(online: Any, times: int) -> None:
    answer = online.connect().reader(FEATURES).read({"tailnum": TAILS * times, "why": [1] * 4 * times})
    assert [row["delay"] for row in answer.to_dicts()] == DELAYS * times
    assert answer.to_dict()["delay"] == answer.to_arrow().column("delay").to_pylist() == DELAYS * times
    assert answer.to_polars()["delay"].to_list() == DELAYS * times
    assert answer.to_pandas()["delay"].dtype == pd.Int64Dtype()
    assert answer.to_arrow().schema.names == ["delay", "note", "flights_1d"]
    assert answer.to_numpy()["delay"].tolist() == DELAYS * times
    assert answer.to_numpy()["note"].tolist() == answer.to_dict()["note"]
    assert len(answer) == 4 * times


@pytest.mark.parametrize("times", [1, 20])
def test_each_value_has_a_status_an_event_time_and_the_commit_of_its_view(online: Any, times: int) -> None:
    answer = online.connect().reader(FEATURES).read({"tailnum": TAILS * times})
    wanted = [Status.PRESENT, Status.NOT_FOUND, Status.NOT_FOUND, Status.NULL_VALUE] * times
    assert answer.statuses()["delay"] == wanted
    assert answer.status_codes()["delay"].tolist() == wanted
    event_times = answer.event_times()["delay"]
    assert np.isnat(event_times).tolist() == [False, True, True, False] * times
    assert event_times[0] == np.datetime64(datetime(1970, 1, 1, 0, 16, 40))
    assert answer.commits == {"delays": 1}


@pytest.mark.parametrize("times", [1, 20])
def test_a_reader_answers_what_get_features_answers_for_any_frame(online: Any, times: int) -> None:
    store = online.connect()
    rows = {"origin": ["JFK", None, "é|1"] * times, "number": [7, 7, 8] * times}
    wanted = store.get_features("routes", rows).to_dict()["delay"]
    reader = store.reader("routes")
    frames = [
        rows,
        pl.DataFrame(rows),
        pl.DataFrame(rows).to_dicts(),
        pd.DataFrame(rows),
        pa.table(rows),
        {"origin": np.array(rows["origin"], object), "number": np.array(rows["number"], np.int16)},
        {"origin": rows["origin"], "number": [float(number) for number in rows["number"]]},
    ]
    for frame in frames:
        assert reader.read(frame).to_dict()["delay"] == wanted


@pytest.mark.parametrize("number", ["7", 7.5, True, 1 << 31, -(1 << 31) - 1])
@pytest.mark.parametrize("times", [1, 20])
def test_a_key_that_is_not_of_its_type_is_refused_and_not_read_as_another(
    online: Any, number: Any, times: int
) -> None:
    reader = online.connect().reader("routes")
    with pytest.raises(RequestError, match="wrong type"):
        reader.read({"origin": ["JFK"] * times, "number": [number] * times})
    with pytest.raises(RequestError, match="wrong type"):
        reader.read([{"origin": "JFK", "number": number}] * times)


def test_columns_of_unlike_length_and_missing_keys_are_refused(online: Any) -> None:
    reader = online.connect().reader("routes")
    with pytest.raises(RequestError, match="differ in length"):
        reader.read({"origin": ["JFK"], "number": [7], "why": [1, 2]})
    with pytest.raises(RequestError, match="join key that is missing"):
        reader.read([{"origin": "JFK"}])


def test_names_are_checked_when_a_reader_is_made(online: Any) -> None:
    store = online.connect()
    with pytest.raises(NotFound, match="Did you mean 'delay'"):
        store.reader("delays:dely")
    with pytest.raises(RequestError, match="two columns would have the name 'delay'"):
        store.reader(["delays:delay", "routes:delay"])
    assert store.reader(["delays:delay", "routes:delay"], full_feature_names=True)


def test_no_entities_give_no_rows(online: Any) -> None:
    reader = online.connect().reader(FEATURES)
    for nothing in ([], {"tailnum": []}):
        answer = reader.read(nothing)
        assert (len(answer), answer.to_dicts()) == (0, [])
        assert answer.to_arrow().schema.field("delay").type == pa.int64()


def test_an_awaited_read_answers_the_same_in_one_loop_after_another(online: Any) -> None:
    reader = online.connect().reader(FEATURES)
    wanted = reader.read({"tailnum": TAILS}).to_dicts()

    async def many() -> list[Any]:
        found = await asyncio.gather(*(reader.read_async({"tailnum": TAILS}) for _ in range(20)))
        await reader.aclose()
        return found

    for _ in range(2):
        assert [answer.to_dicts() for answer in asyncio.run(many())] == [wanted] * 20


def test_threads_share_a_reader(online: Any) -> None:
    reader = online.connect().reader(FEATURES)
    start = threading.Barrier(8)
    times = 50 if exhaustive() else 20

    def read(n: int) -> list[Any]:
        start.wait()
        tails = [TAILS[n % 4], TAILS[(n + 1) % 4]]
        return [reader.read({"tailnum": tails}).to_dict()["delay"] for _ in range(times)]

    with ThreadPoolExecutor(8) as pool:
        for n, found in enumerate(pool.map(read, range(8))):
            assert found == [[DELAYS[n % 4], DELAYS[(n + 1) % 4]]] * times


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_reads_with_the_reader_of_its_parent(online: Any) -> None:
    reader = online.connect().reader(FEATURES)
    wanted = reader.read({"tailnum": TAILS}).to_dicts()
    children = []
    for _ in range(3):
        if not (child := os.fork()):
            try:
                same = all(reader.read({"tailnum": TAILS}).to_dicts() == wanted for _ in range(20))
                os._exit(0 if same else 1)
            finally:
                os._exit(2)
        children.append(child)
        assert reader.read({"tailnum": TAILS}).to_dicts() == wanted
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]


def test_a_reader_goes_on_when_the_value_changes(online: Any) -> None:
    reader = online.connect().reader("delays:delay")
    assert reader.read({"tailnum": ["N2"]}).to_dict() == {"delay": [-7]}
    event_us = 2_000_000_000
    values = {"tailnum": "N2", "delay": -8, "event_timestamp": event_us, "created_timestamp": 0}
    online.build("delays", [{**values, "__batch": 2, "__file": 0, "__row": 0}], 4, event_us)
    online.publish("delays")
    answer = reader.read({"tailnum": ["N2"]})
    assert (answer.to_dict(), answer.commits) == ({"delay": [-8]}, {"delays": 2})


@pytest.fixture
def silent(place: Any) -> Any:
    """A store whose Redis takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"redis://127.0.0.1:{server.getsockname()[1]}"
        spec = {"offline": {"uri": str(place.root)}, "online": {"redis": {"url": url}}}
        store = {"kind": "FeatureStore", "metadata": {"name": "default"}, "spec": spec}
        Registry(place.storage).accept(FeatureStore.model_validate(store))
        yield place


def _reads(reader: Any) -> list[Callable[[], Any]]:
    return [
        lambda: reader.read({"tailnum": ["N2"]}),
        lambda: asyncio.run(awaited(reader)),
    ]


async def awaited(reader: Any) -> Any:
    try:
        return await reader.read_async({"tailnum": ["N2"]})
    finally:
        await reader.aclose()


def test_a_server_that_does_not_answer_is_told_after_the_timeout(silent: Any) -> None:
    spec = {**_spec(silent, "delays"), "online": {"enabled": "Always"}}
    silent.accept("delays", spec)
    silent.promote("delays")
    reader = silent.connect().reader("delays:delay", timeout=0.05)
    for read in _reads(reader):
        with pytest.raises(StorageError, match="the online store did not answer"):
            read()


def _spec(place: Any, name: str) -> dict[str, Any]:
    from featurestore.resources import FeatureView

    accepted = Registry(place.storage).current(FeatureView, name)
    assert accepted is not None
    spec: dict[str, Any] = accepted.resource.spec.model_dump(mode="json", by_alias=True)
    return spec


@pytest.fixture
def leaving(place: Any, tmp_path: Any) -> Any:
    """A place whose Redis ends with ``place.leave()``."""
    import storage_server

    with storage_server.redis(tmp_path) as url:
        spec = {"offline": {"uri": str(place.root)}, "online": {"redis": {"url": url}}}
        store = {"kind": "FeatureStore", "metadata": {"name": "default"}, "spec": spec}
        Registry(place.storage).accept(FeatureStore.model_validate(store))
        place.clock.us = 2100 * SECOND
        place.publish_always("delays")
        with redis.Redis.from_url(url) as client:
            yield place, lambda: client.shutdown(nosave=True)


def test_while_redis_is_away_what_was_read_before_is_answered_if_that_is_allowed(leaving: Any) -> None:
    place, leave = leaving
    strict = place.connect().reader(FEATURES)
    lasting = place.connect().reader(FEATURES, allow_stale=True)
    before = lasting.read({"tailnum": TAILS})
    assert not before.is_stale
    strict.read({"tailnum": TAILS})
    leave()
    for read in (
        lambda: lasting.read({"tailnum": TAILS}),
        lambda: asyncio.run(lasting.read_async({"tailnum": TAILS})),
    ):
        after = read()
        assert after.is_stale
        assert (after.to_dicts(), after.statuses()) == (before.to_dicts(), before.statuses())
    with pytest.raises(StorageError, match="did not answer"):
        lasting.read({"tailnum": ["N2", "not read before"]})
    with pytest.raises(StorageError, match="did not answer"):
        strict.read({"tailnum": TAILS})
    # The ttl is an hour, and the row of second 1000.
    place.clock.us = (1000 + 3600) * SECOND + 1
    late = lasting.read({"tailnum": ["N2"]})
    assert (late.to_dict()["delay"], late.statuses()["delay"]) == ([None], [Status.OUTSIDE_MAX_AGE])
