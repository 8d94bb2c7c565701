"""FeatureStore: where features live."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from featurestore.resources.events import CommitEvents
from featurestore.resources.execution import Workers
from featurestore.resources.location import NO_CHAIN, NO_CREDENTIALS
from featurestore.resources.metadata import Description, Owner, SecretRef, Tags
from featurestore.resources.model import Model
from featurestore.resources.pod_template import Image
from featurestore.resources.quantity import Bytes
from featurestore.resources.redis_url import REDIS_PATTERN, URL_RULES, RedisUrl
from featurestore.resources.resource import Resource
from featurestore.resources.rule import SpecRule, Transition, exactly_one
from featurestore.resources.serving import Serving

_LOST = re.compile(r"[#?\\]|%[0-9A-Fa-f]{2}")
Uri = Annotated[str, StringConstraints(min_length=1, max_length=1024)]


class Offline(Model):
    uri: Uri = Field(
        description="Storage root: a URL of s3, gs, az or abfss, or a path relative to the file it stands in."
    )
    secret_ref: SecretRef | None = Field(None, description="Secret with the credentials of the storage.")
    rules = (
        NO_CREDENTIALS,
        NO_CHAIN,
        SpecRule(
            message="tables below a path with # ? \\ or a code such as %20 would not be found again",
            holds=lambda offline: not _LOST.search(offline.uri),
            cel="!self.uri.matches('[#?\\\\\\\\]|%[0-9A-Fa-f]{2}')",
            field="uri",
        ),
    )


class DuckDB(Model):
    """Embedded: generations of files under the storage root."""

    @property
    def opened(self) -> tuple[str, ...]:
        """Nothing but the storage root."""
        return ()


class ManagedRedis(Model):
    """One server without a disk, for small installations: what it loses is published again."""

    memory: Bytes = Field(512 * 1024**2, description="Memory for values; the pod asks for more than that.")
    image: Image | None = Field(None, description="Image of the server. Default: the operator's choice.")


class Redis(Model):
    """Exactly one of url and managed is set."""

    url: Annotated[str, StringConstraints(pattern=REDIS_PATTERN, min_length=1, max_length=1024)] | None = (
        Field(
            None,
            description="redis://host:6379/0, redis+sentinel://host:26379,host:26379/service/0 or "
            "redis+cluster://host:6379,host:6379, each with rediss for TLS. Without credentials.",
        )
    )
    managed: ManagedRedis | None = Field(None, description="The operator runs a server. Not on a laptop.")
    secret_ref: SecretRef | None = Field(None, description="Secret with the credentials of Redis.")

    @property
    def opened(self) -> tuple[str, ...]:
        """URLs of the servers that a URL has asked first; none of a managed one.

        >>> Redis(url="redis://cache/3").opened
        ('redis://cache:6379',)
        """
        return () if self.url is None else RedisUrl.parse(self.url).servers

    rules = (
        exactly_one("url", "managed"),
        SpecRule(
            message="credentials stand in a Secret (secretRef) or in the environment, never in a URL",
            holds=lambda redis: redis.url is None or not ("@" in redis.url or "password=" in redis.url),
            cel="!has(self.url) || (!self.url.contains('@') && !self.url.contains('password='))",
            field="url",
        ),
        *URL_RULES,
        SpecRule(
            message="secretRef goes with url: a managed Redis has credentials of its own",
            holds=lambda redis: redis.managed is None or redis.secret_ref is None,
            cel="!has(self.managed) || !has(self.secretRef)",
            field="secretRef",
        ),
    )


class Online(Model):
    """Exactly one of the fields is set."""

    duckdb: DuckDB | None = Field(None, description="Embedded DuckDB.")
    redis: Redis | None = Field(None, description="A Redis server.")
    rules = (exactly_one("duckdb", "redis"),)

    @property
    def room(self) -> str:
        """The name of the field that is set, which is the folder in ``featurestore/online`` that implements the store.

        >>> Online(redis=Redis(url="redis://cache:6379")).room
        'redis'
        """
        return next(name for name in type(self).model_fields if getattr(self, name) is not None)

    @property
    def opened(self) -> tuple[str, ...]:
        """URIs that are opened beside the storage root: the operator opens those that a policy allows."""
        return tuple(getattr(self, self.room).opened)

    @property
    def secret_ref(self) -> SecretRef | None:
        """The Secret with the credentials of the store that is set, if it names one."""
        ref: SecretRef | None = getattr(getattr(self, self.room), "secret_ref", None)
        return ref


class FeatureStoreSpec(Model):
    offline: Offline = Field(description="Where all data lives.")
    online: Online = Field(Online(duckdb=DuckDB()), description="Where values for inference live.")
    serving: Serving | None = Field(
        None, description="A feature server that the operator keeps. On a laptop: featurestore serve."
    )
    workers: Workers = Field(
        Workers(), description="Workers of pipelines with execution: Warm. Without effect on a laptop."
    )
    events: CommitEvents | None = Field(None, description="Who is told of commits, as CloudEvents.")
    description: Description = Field("", description="What it is for, in its owner's words.")
    owner: Owner = Field("", description="Who is responsible for it.")
    tags: Tags = Field({}, description="Names and values to find it by.")
    transitions = (
        Transition(
            message="a store stays where it is: make another FeatureStore at the new place and apply all to it",
            holds=lambda old, new: old.offline.uri == new.offline.uri,
            cel="self.offline.uri == oldSelf.offline.uri",
            field="offline.uri",
        ),
    )


class FeatureStore(Resource):
    kind: Literal["FeatureStore"] = Field("FeatureStore", description="What it is.")
    spec: FeatureStoreSpec = Field(description="What is wanted.")
