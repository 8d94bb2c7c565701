"""Opening a store, and what it says of its views."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

import featurestore
from featurestore.errors import NotFound, RequestError, SpecError, TransientError

SECOND = 1_000_000


def test_a_store_is_found_by_root_by_folder_by_environment_and_in_the_current_folder(
    place: Any, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path_factory.mktemp("project")
    (project / "store.yaml").write_text(
        "kind: FeatureStore\napiVersion: featurestore.dev/v1alpha1\nmetadata: {name: default}\n"
        f"spec: {{offline: {{uri: '{place.root}'}}}}\n"
    )
    monkeypatch.delenv("FEATURESTORE_URI", raising=False)
    views = ["delays", "routes"]
    assert featurestore.connect(place.root).list_views() == views
    assert featurestore.connect(f"file://{place.root}").list_views() == views
    assert featurestore.connect(str(project)).list_views() == views
    monkeypatch.chdir(project)
    assert featurestore.connect().list_views() == views
    monkeypatch.chdir(Path("/"))
    monkeypatch.setenv("FEATURESTORE_URI", str(project))
    assert featurestore.connect().list_views() == views


def test_where_there_is_no_store_the_error_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"there is no feature store.*`featurestore init NAME`"):
        featurestore.connect(tmp_path)


def test_a_view_describes_itself_in_plain_values(place: Any) -> None:
    described = place.connect().describe("delays")
    assert described["join_keys"] == {"tailnum": "string"}
    assert described["features"] == {"delay": "int64", "note": "string", "flights_1d": "int64"}
    assert (described["ttl"], described["commit"], described["rows"]) == ("1h", 3, 3)
    assert described["watermark"] == "1970-01-01T00:33:20+00:00"
    with pytest.raises(NotFound, match=r"there is no view 'delay'\. Did you mean 'delays'"):
        place.connect().describe("delay")


def test_a_view_without_a_build_describes_what_it_will_be(place: Any) -> None:
    spec = place.connect()._views.get("routes").spec
    place.accept("fresh", spec.model_dump(mode="json", by_alias=True))
    described = place.connect().describe("fresh")
    assert described["features"] == {"delay": "float64"}
    assert (described["serving"], described["commit"], described["watermark"]) == (None, None, None)


def test_an_unpublished_view_is_not_read_online(place: Any) -> None:
    with pytest.raises(RequestError, match="'delays' is not published online"):
        place.connect().get_online_features(["delays:delay"], [{"tailnum": "N1"}])


def test_waiting_ends_when_the_commit_is_held(place: Any) -> None:
    store = place.connect()
    store.wait_fresh("delays", 3, timeout=0)
    place.clock.then = [lambda: None, lambda: place.serve("delays", [], 4, 2000 * SECOND)]
    store.wait_fresh("delays", 4, timeout=1)
    assert place.clock.then == []


def test_waiting_for_a_time_ends_when_data_up_to_it_is_held(place: Any) -> None:
    store = place.connect()
    store.wait_fresh("delays", datetime.fromtimestamp(2000, UTC), timeout=0)
    place.clock.then = [lambda: place.serve("delays", [], 4, 2001 * SECOND)]
    store.wait_fresh("delays", "1970-01-01T00:33:21Z", timeout=1)


def test_waiting_without_a_goal_is_for_all_that_the_dataset_holds(place: Any) -> None:
    place.connect().wait_fresh("delays", timeout=0)


def test_a_changed_definition_is_waited_for_though_the_old_one_holds_the_commit(place: Any) -> None:
    spec = place.connect()._views.get("delays").spec.model_dump(mode="json", by_alias=True)
    place.accept("delays", {**spec, "filter": "delay > 0"})
    with pytest.raises(TransientError, match="got no complete build"):
        place.connect().wait_fresh("delays", 3, timeout=0.2)


def test_waiting_that_is_in_vain_says_how_far_the_view_has_come(place: Any) -> None:
    with pytest.raises(
        TransientError, match=r"wanted commit 9 .*got commit 3, data up to 1970-01-01T00:33:20"
    ):
        place.connect().wait_fresh("delays", 9, timeout=1)
    assert place.clock.us >= SECOND


def test_threads_that_read_first_at_once_share_one_online_store(place: Any) -> None:
    """What a second one had in memory would be there twice, and as old as its last reader left it."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            for _ in range(50):
                store, start = place.connect(), Barrier(8)

                def open_at_once(_: int, store: Any = store, start: Barrier = start) -> Any:
                    start.wait()
                    return store._online_store()

                opened = list(pool.map(open_at_once, range(8)))
                assert len(set(map(id, opened))) == 1
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.new_process
def test_connecting_loads_no_frame_library_and_importing_no_engine(place: Any) -> None:
    code = (
        "import sys, featurestore\n"
        "heavy = {'polars', 'pandas', 'pyarrow', 'duckdb', 'deltalake', 'numpy', 'pydantic', 'fsspec'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        f"store = featurestore.connect({str(place.root)!r}); store.list_views()\n"
        "heavy -= {'pydantic', 'fsspec'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "labels = {'tailnum': ['N1'], 't': ['1970-01-01']}\n"
        "print(store.get_features(['delays:*'], labels, timestamp_column='t'))\n"
        "assert 'polars' not in sys.modules\n"  # pyarrow itself looks for pandas
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_wrong_view_in_the_projects_file_keeps_nobody_from_reading_what_was_accepted(
    place: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    project = tmp_path_factory.mktemp("project")
    (project / "store.yaml").write_text(
        f"kind: FeatureStore\nmetadata: {{name: default}}\nspec: {{offline: {{uri: '{place.root}'}}}}\n"
        "---\nkind: FeatureView\nmetadata: {name: delays}\nspec: {entity: 7, nonsense: [1]}\n"
        "---\nkind: Nonsense\n"
    )
    assert featurestore.connect(project).list_views() == ["delays", "routes"]


def test_two_feature_stores_in_one_file_are_told_and_none_is_chosen(
    place: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    project = tmp_path_factory.mktemp("project")
    store = "kind: FeatureStore\nmetadata: {name: NAME}\nspec: {offline: {uri: 'ROOT'}}\n".replace(
        "ROOT", str(place.root)
    )
    (project / "store.yaml").write_text(f"{store.replace('NAME', 'a')}---\n{store.replace('NAME', 'b')}")
    with pytest.raises(SpecError, match="there is more than one FeatureStore"):
        featurestore.connect(project)
