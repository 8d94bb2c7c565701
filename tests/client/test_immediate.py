"""Rows that are read online from the moment that they are pushed: at once, and in the end as the join says."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from examples import exhaustive, sample
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from laptop import STORE, Laptop

from featurestore.cli import erase
from featurestore.client.connection import Store
from featurestore.errors import RequestError
from featurestore.online.backends import open_online
from featurestore.online.index import open_index
from featurestore.protocol import ErasureRequest
from featurestore.registry.project import open_project
from featurestore.resources.feature_store import FeatureStoreSpec, Online, Redis
from featurestore.resources.immediate_check import NEEDS_REDIS, lack_of_store, lacks_of_pipeline
from featurestore.resources.kinds import KINDS
from featurestore.resources.transform import Transform
from featurestore_transforms.erasure.erase import run_erasure

RESOURCES = """
kind: DataPipeline
metadata: {name: clicks}
spec:
  source:
    uri: "pushed/*.arrow"
    format: Arrow
    push: {schema: [{name: user, type: string}, {name: at, type: timestamp}, {name: n, type: int64}]}
  trigger: {arrivals: {maxWait: 0s}}
  transforms:
  - derive: {columns: {twice: "2 * n"}}
  - filter: {where: "n <> 0"}
  expectations: [{name: small, that: "n < 100"}]
---
kind: FeatureView
metadata: {name: users}
spec:
  entity: {name: user, joinKeys: [{name: user, type: string}]}
  source: {pipeline: clicks}
  timestampField: at
  features: [{name: n, type: int64}, {name: half, type: float64, expression: "twice / 4"}]
  online: {write: Immediate}
"""
NOWHERE = Online(redis=Redis(url="redis://127.0.0.1:1/0"))
STEPS = [
    *(
        "after-announce",
        "before-push",
        "after-push",
        "after-immediate",
        "after-manifest",
        "after-dataset-commit",
    ),
    *(
        "after-result",
        "after-build-commit",
        "during-publish",
        "before-settle",
        "after-settle",
        "after-publish",
    ),
]
NOW = datetime(2100, 1, 1, tzinfo=UTC)
"""Files are old by then."""


def click(user: str, n: int, minutes: float = 0) -> dict[str, Any]:
    """A row, so long before now."""
    return {"user": user, "at": NOW - timedelta(minutes=minutes), "n": n}


class Pushing:
    """A laptop with Redis, whose view is published, and a store as a program has it that pushes."""

    def __init__(self, folder: Path, url: str, resources: str = RESOURCES) -> None:
        self.laptop, self.url = Laptop(folder, NOW), url
        (folder / "store.yaml").write_text(
            STORE.replace("root}", f"root}}, online: {{redis: {{url: '{url}'}}}}")
        )
        self.laptop.project = open_project(folder, {}, folder)
        self.laptop.apply(*yaml.safe_load_all(resources))
        self.store = self.another()
        self.store.push("clicks", [click("first", 1, 9999)])
        self.laptop.run()
        self.store = self.another()

    def another(self) -> Store:
        """Another process that pushes and reads."""
        return self.laptop.store(NOW)

    def push(self, *rows: dict[str, Any], key: str | None = None) -> dict[str, str]:
        return dict(self.store.push("clicks", list(rows), idempotency_key=key).online)

    def erase(self, user: str) -> None:
        laptop, keys = self.laptop, self.laptop.folder / "keys.csv"
        keys.write_text(f"user\n{user}\n")
        plan = erase.plan(laptop.project, "user", None, keys, allow_return=False)
        number = erase.begin(laptop.project, plan, laptop.clock())
        run_erasure(laptop.storage, ErasureRequest(root=laptop.storage.root, number=number), lambda _: None)

    def left(self) -> list[bytes]:
        """Keys of values that no publication has settled."""
        with redis.Redis.from_url(self.url) as client:
            return list(client.scan_iter(b"fs-early*"))

    def read(self, *users: str) -> list[Any]:
        return self.another().get_features(["users:n"], [{"user": user} for user in users]).to_dict()["n"]


@pytest.fixture
def pushing(tmp_path: Path, redis_url: str) -> Pushing:
    return Pushing(tmp_path, redis_url)


def test_a_pushed_row_is_read_before_its_batch_and_stays_after_it(pushing: Pushing) -> None:
    assert pushing.push(click("a", 7)) == {"users": ""}
    assert pushing.read("a", "b", "first") == [7, None, 1]
    pushing.laptop.run()
    assert pushing.read("a", "b", "first") == [7, None, 1]


def test_what_a_rule_or_a_filter_leaves_out_is_left_out_at_once(pushing: Pushing) -> None:
    pushing.push(click("broken", 100), click("filtered", 0), click("good", 5))
    assert pushing.read("broken", "filtered", "good") == [None, None, 5]
    pushing.laptop.run()
    assert pushing.read("broken", "filtered", "good") == [None, None, 5]


def test_the_newest_event_wins_whatever_was_pushed_last(pushing: Pushing) -> None:
    pushing.push(click("a", 1, 60), click("first", 2, 99_999))
    pushing.push(click("a", 2, 30), click("a", 3, 40))
    pushing.push(click("a", 4, 50))
    assert pushing.read("a", "first") == [2, 1]
    pushing.laptop.run()
    assert pushing.read("a", "first") == [2, 1]


def test_a_row_of_tomorrow_is_read_tomorrow(pushing: Pushing) -> None:
    pushing.push(click("a", 1))
    pushing.push(click("a", 2, -60))
    later = pushing.laptop.store(NOW + timedelta(hours=1))
    assert pushing.read("a") == [1]
    assert later.get_features(["users:n"], [{"user": "a"}]).to_dict()["n"] == [2]


def test_a_value_that_its_batch_puts_into_quarantine_goes_with_the_batch(pushing: Pushing) -> None:
    assert pushing.push(click("a", 7)) == {"users": ""}
    stricter = RESOURCES.replace("n < 100", "n < 6")
    pushing.laptop.apply(*yaml.safe_load_all(stricter))
    pushing.laptop.run()
    assert pushing.read("a") == [None]
    assert pushing.left() == []


def test_a_push_that_is_sent_again_after_its_batch_puts_nothing(pushing: Pushing) -> None:
    pushing.push(click("a", 7), key="k")
    pushing.laptop.run()
    assert pushing.push(click("a", 7), key="k") == {"users": "a batch has taken the rows already"}
    assert pushing.left() == []


def test_without_redis_a_push_is_durable_and_says_when_it_is_read(pushing: Pushing) -> None:
    spec = pushing.laptop.project.store.spec
    store = pushing.another()
    storage = pushing.laptop.storage
    store._opened[storage.root] = open_online(storage, spec.model_copy(update={"online": NOWHERE}))
    pushed = store.push("clicks", [click("a", 7)])
    assert pushed.is_new
    assert "did not answer" in pushed.online["users"]
    pushing.laptop.run()
    assert pushing.read("a") == [7]


def test_a_key_that_was_erased_for_ever_is_not_read(pushing: Pushing) -> None:
    pushing.push(click("first", 3), click("b", 4))
    pushing.erase("first")
    assert pushing.read("first") == [None]
    pushing.push(click("first", 5), click("c", 6))
    assert pushing.read("first", "c") == [None, 6]
    pushing.laptop.run()
    assert pushing.read("first", "b", "c") == [None, 4, 6]


@pytest.mark.parametrize(
    "step",
    sample(["after-announce", "before-push", "after-push", "after-immediate"], 2),
    ids=lambda step: str(step),
)
def test_a_push_that_is_killed_at_any_step_leaves_nothing_that_the_join_does_not_say(
    pushing: Pushing, step: str
) -> None:
    with pushing.laptop.killed_at(step):
        pushing.push(click("a", 7), key="k")
        pytest.fail("it was not killed")
    pushing.laptop.run()
    pushing.push(click("b", 8))
    pushing.laptop.run()
    stands = [row["n"] for row in pushing.laptop.table("datasets/clicks") if row["user"] == "a"]
    assert pushing.read("a", "b") == [stands[0] if stands else None, 8]
    assert pushing.left() == []


@pytest.mark.parametrize(
    "step", sample(["during-publish", "before-settle", "after-settle", "after-publish"], 2)
)
def test_a_publication_that_is_killed_is_followed_by_one_that_settles(pushing: Pushing, step: str) -> None:
    pushing.push(click("a", 7), click("first", 9))
    with pushing.laptop.killed_at(step):
        pushing.laptop.run()
        pytest.fail("it was not killed")
    assert pushing.read("a", "first") == [7, 9]
    pushing.laptop.run()
    assert pushing.read("a", "first") == [7, 9]
    assert pushing.left() == []


def test_values_of_a_push_go_with_the_build_that_they_are_of(pushing: Pushing) -> None:
    pushing.push(click("a", 7))
    index = open_index(pushing.laptop.storage, pushing.laptop.project.store.spec)
    index.delete("users", pushing.laptop.build("users"))
    assert pushing.left() == []
    assert pushing.push(click("b", 7)) == {"users": "nothing of the view is published yet"}


KINDS_OF_STEP = {
    "deduplicate": {"keys": ["user"]},
    "sort": {"by": [{"column": "at"}]},
    "sql": {"query": "SELECT * FROM self"},
    "python": {"callable": "steps:clean"},
}


@pytest.mark.parametrize("step", KINDS_OF_STEP)
def test_a_pipeline_whose_steps_look_at_more_than_one_row_is_refused(step: str) -> None:
    pipeline, _ = (KINDS[each["kind"]].model.model_validate(each) for each in yaml.safe_load_all(RESOURCES))
    spec = pipeline.spec.model_copy(
        update={"transforms": (Transform.model_validate({step: KINDS_OF_STEP[step]}),)}
    )
    [(path, why)] = lacks_of_pipeline(spec)
    assert (path, step in why) == (("transforms", 0, step), True)


def test_a_store_that_publishes_as_a_whole_is_refused() -> None:
    assert lack_of_store(FeatureStoreSpec.model_validate({"offline": {"uri": "root"}})) == NEEDS_REDIS


def test_windows_are_refused() -> None:
    _, view = yaml.safe_load_all(RESOURCES)
    total = {"function": "Sum", "column": "n", "windows": ["1d"]}
    view["spec"]["features"].append({"name": "total", "type": "int64", "aggregate": total})
    with pytest.raises(ValueError, match="needs all rows of its windows"):
        KINDS["FeatureView"].model.model_validate(view)


@given(st.data())
@settings(
    max_examples=300 if exhaustive() else 3,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_after_each_batch_what_is_online_is_what_the_join_says(
    tmp_path_factory: pytest.TempPathFactory, redis_url: str, data: st.DataObject
) -> None:
    """Random histories of two that push, of batches, and of kills between any two steps."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    pushing = Pushing(tmp_path_factory.mktemp("history"), redis_url)
    servers = [pushing.another(), pushing.another()]
    rows = st.builds(click, st.sampled_from("abc"), st.sampled_from([0, 1, 2, 3, 100]), st.integers(0, 3))
    for number in range(data.draw(st.integers(1, 6), label="steps")):
        step = data.draw(st.sampled_from([None, *STEPS]), label="killed at")
        with pushing.laptop.killed_at(step or "never"):
            if data.draw(st.booleans(), label="batch"):
                pushing.laptop.run()
            else:
                store = data.draw(st.sampled_from(servers), label="server")
                key = str(data.draw(st.integers(0, number), label="key"))
                some = data.draw(st.lists(rows, min_size=1, max_size=3), label="rows")
                with suppress(RequestError):  # the key was used for other rows
                    store.push("clicks", some, idempotency_key=key)
    pushing.laptop.run()
    pushing.push(click("last", 1))
    pushing.laptop.run()
    users = ["a", "b", "c", "last", "first"]
    then = {"user": users, "at": [NOW] * len(users)}
    joined = pushing.another().get_features(["users:n", "users:half"], then, timestamp_column="at").to_dict()
    online = pushing.another().get_features(["users:n", "users:half"], {"user": users}).to_dict()
    assert (online["n"], online["half"]) == (joined["n"], joined["half"])
    assert pushing.left() == []
