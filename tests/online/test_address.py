"""Where a FeatureStore's Redis is."""

from __future__ import annotations

import pytest

from featurestore.errors import SpecError
from featurestore.online.address import MANAGED_URL, redis_url
from featurestore.resources.store import ManagedRedis, Redis

HERE = {MANAGED_URL: "redis://default-redis:6379/0"}


def test_a_given_url_is_the_address_whatever_the_environment_says() -> None:
    assert redis_url(Redis(url="redis://redis:6379/1"), HERE) == "redis://redis:6379/1"


def test_a_managed_redis_is_where_the_environment_says() -> None:
    assert redis_url(Redis(managed=ManagedRedis()), HERE) == "redis://default-redis:6379/0"


def test_a_managed_redis_outside_of_its_cluster_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(SpecError, match="On a laptop, use") as caught:
        redis_url(Redis(managed=ManagedRedis()), {})
    assert caught.value.where == "FeatureStore spec.online.redis.managed"
