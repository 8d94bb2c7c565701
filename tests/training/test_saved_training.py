"""What get_features answered is kept as a version of a training set, if it is one."""

from __future__ import annotations

import pytest
from laptop import Laptop
from training import expected, training_set

from featurestore.client.connection import Store
from featurestore.client.features import Features
from featurestore.errors import NotFound, RequestError


@pytest.fixture
def store(laptop: Laptop) -> Store:
    laptop.run()
    return laptop.store(laptop.now)


def answer(laptop: Laptop, store: Store) -> Features:
    labels = [{name: row[name] for name in ("k", "ts", "w")} for row in expected(laptop)]
    return store.get_features(["view:v", "view:n_1d"], labels, timestamp_column="ts")


def test_what_was_saved_is_read_as_it_was_and_saved_again_is_the_same_version(
    laptop: Laptop, store: Store
) -> None:
    found = answer(laptop, store)
    saved = store.save_training_set("ad_hoc", found, labels=["w"], shard_rows=300)
    assert store.training_set("ad-hoc").to_arrow().to_pylist() == found.to_arrow().to_pylist()
    assert [
        row for batch in saved.shards(batch_rows=90) for row in batch.to_pylist()
    ] == found.to_arrow().to_pylist()
    assert [shard.rows for shard in saved.manifest.parts[0].shards] == [300, 300, 100]
    assert store.save_training_set("ad_hoc", found, labels=["w"], shard_rows=300).number == saved.number
    assert store.save_training_set("ad_hoc", found, labels=["w"], shard_rows=200).number == saved.number + 1
    assert store.training_set("ad_hoc", 1).digest == store.training_set("ad_hoc", saved.digest).digest


def test_features_of_now_a_label_that_is_none_and_the_name_of_a_resource_are_refused(
    laptop: Laptop, store: Store
) -> None:
    found = answer(laptop, store)
    with pytest.raises(RequestError, match="no column 'v' of labels"):
        store.save_training_set("ad-hoc", found, labels=["v"])
    now = store.get_features(["view:v"], [{"k": "e1"}])
    with pytest.raises(RequestError, match="features as they are now"):
        store.save_training_set("ad-hoc", now, labels=[])
    laptop.apply(training_set())
    with pytest.raises(RequestError, match="made of a resource"):
        store.save_training_set("set", found, labels=["w"])


def test_a_version_or_a_part_that_is_not_there_is_told_with_those_that_are(
    laptop: Laptop, store: Store
) -> None:
    saved = store.save_training_set("ad-hoc", answer(laptop, store), labels=["w"])
    with pytest.raises(NotFound, match=r"no complete version 7.*versions 1"):
        store.training_set("ad-hoc", 7)
    with pytest.raises(NotFound, match=r"no part 'train'.*'all'"):
        saved.to_arrow("train")
    with pytest.raises(NotFound, match="no complete version"):
        store.training_set("nothing")
