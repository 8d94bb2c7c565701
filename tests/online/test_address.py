"""Where the Redis of a FeatureStore is."""

from __future__ import annotations

import pytest

from featurestore.errors import SpecError
from featurestore.online.index import redis_url
from featurestore.resources import FeatureStoreSpec


def spec(**redis: object) -> FeatureStoreSpec:
    return FeatureStoreSpec.model_validate({"offline": {"uri": "s3://x/y"}, "online": {"redis": redis}})


def test_a_redis_is_where_its_url_says() -> None:
    assert redis_url(spec(url="redis://redis:6379/1")) == "redis://redis:6379/1"


def test_a_managed_redis_outside_of_its_cluster_is_an_error_that_names_what_works_there() -> None:
    with pytest.raises(SpecError, match=r"On a laptop, use \{duckdb: \{\}\}"):
        redis_url(spec(managed={}))
