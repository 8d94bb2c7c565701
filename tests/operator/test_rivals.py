"""Two tenants of one cluster try on each other all that is known to have worked once, and end where they began.

Each administers a namespace, and has the keys of one bucket on the S3 server that both use. The operator's own keys open
both buckets.
"""

from __future__ import annotations

import base64
import io
import json
import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl
import pytest
import yaml
from cluster.control_plane import ControlPlane
from cluster_story import LOOK_S
from conditions import Object
from eventually import eventually
from rival import PATIENCE_S, Rival, rivals

pytestmark = pytest.mark.slow
REMEMBERED = re.compile(r"store/registry/\w+/(try[^/]*/[^/]+|[^/]+/status)\.json$")
"""Specs that one tried oneself; and statuses, which have the time at which all was well again."""
TOKENS = ("serviceAccountToken", "podCertificate")
OWN = {"secretRef": {"name": "s3"}}


@dataclass(frozen=True)
class Try:
    """What somebody applies, and what they are told of it: where, and why not."""

    manifest: Object
    reason: str
    words: tuple[str, ...]
    condition: str = "Ready"

    @property
    def key(self) -> tuple[str, str]:
        return self.manifest["kind"].lower(), self.manifest["metadata"]["name"]

    @property
    def name(self) -> str:
        return "/".join(self.key)


@pytest.fixture(scope="module")
def they(controllers: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Rival]]:
    with rivals(controllers, tmp_path_factory.mktemp("rivals"), ("ann", "ben")) as tenants:
        for tenant in tenants:
            only, url = {"names": [tenant.namespace]}, tenant.redis_url.rstrip("/") + "/"
            spec = {"namespaces": only, "uriPrefixes": [url], "imagePrefixes": ["here/"]}
            policy = tenant.of("FeatureStorePolicy", tenant.namespace, spec)
            controllers.kubectl("apply", "-f", "-", stdin=json.dumps(policy))
            begin(tenant)
        for tenant in tenants:
            wait_ready(tenant)
        yield tenants
        controllers.kubectl("delete", "featurestorepolicies", *(tenant.namespace for tenant in tenants))


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server of nobody's, at which only the system knows that somebody connected."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def test_two_tenants_who_try_everything_end_where_they_began(
    they: list[Rival], listener: socket.socket
) -> None:
    before = [(me.stored(), me.published(), me.resources()) for me in they]
    assert all(stored and published for stored, published, _ in before)
    here = f"127.0.0.1:{listener.getsockname()[1]}"
    pairs = [(they[0], they[1]), (they[1], they[0])]
    for me, other in pairs:
        ask_the_api_server(me, other)
        write_what_is_refused(me, other)
        me.apply(*(it.manifest for it in tries(me, other, here)))
    for me, other in pairs:
        answered(me, tries(me, other, here))
    for me, other in pairs:
        me.delete(*(it.name for it in tries(me, other, here)))
    for rounds in zip(*(store_tries(me, other, here) for me, other in pairs), strict=True):
        for (me, _), tried in zip(pairs, rounds, strict=True):
            anew = (
                tried.manifest["spec"]["offline"]["uri"]
                != me.get("featurestore", "default")["spec"]["offline"]["uri"]
            )
            if anew:
                me.delete(tried.name)
            me.apply(tried.manifest)
        for (me, _), tried in zip(pairs, rounds, strict=True):
            answered(me, [tried])
    for me in they:
        me.delete("featurestore/default")
        me.apply(store(me))
    for me in they:
        wait_ready(me)
    for me, (stored, published, resources) in zip(they, before, strict=True):
        eventually(lambda me=me, resources=resources: me.resources() == resources, PATIENCE_S, me.told)
        changed = differences(me.stored(), stored)
        assert not changed, f"{me.user}: {' '.join(changed)}"
        assert me.published() == published, me.user
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_what_a_secret_holds_stands_in_no_other_object_no_event_no_log_and_no_file(they: list[Rival]) -> None:
    for me in they:
        secret = me.keys["AWS_SECRET_ACCESS_KEY"].encode()
        texts = me.texts()
        assert texts["operator"]
        assert b"TrainingSet" in texts["objects"]
        forms = (secret, base64.b64encode(secret))
        assert [name for name, text in texts.items() if any(form in text for form in forms)] == []


def begin(me: Rival) -> None:
    """A store with a file of one row, its pipeline, a view, a service and a training set."""
    rows = pl.DataFrame({"k": [me.user], "ts": ["2024-01-01T00:00:00"], "v": [1]})
    buffer = io.BytesIO()
    rows.with_columns(pl.col("ts").str.to_datetime(time_unit="us", time_zone="UTC")).write_parquet(buffer)
    me.put("1.parquet", buffer.getvalue())
    view: Object = {
        "entity": {"name": "thing", "joinKeys": [{"name": "k", "type": "string"}]},
        "source": {"pipeline": f"{me.user}-events"},
        "timestampField": "ts",
        "features": [{"name": "v", "type": "int64", "column": "v"}],
    }
    name = f"{me.user}-things"
    labels = {"pipeline": f"{me.user}-events", "timestampField": "ts", "columns": ["v"]}
    training = {"features": {"names": [f"{name}:v"]}, "labels": labels, "featureNames": "Full"}
    me.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s3"}, "stringData": dict(me.keys)},
        store(me),
        pipeline(me, f"{me.user}-events", f"{me.raw}/*.parquet"),
        me.of("FeatureView", name, view),
        me.of("FeatureService", "model", {"features": [f"{name}:v"]}),
        me.of("TrainingSet", "set", training),
    )


def wait_ready(me: Rival) -> None:
    me.until("featurestore", "default", "Answers")
    me.until("datapipeline", f"{me.user}-events", "UpToDate", rows=1)
    me.until("featureview", f"{me.user}-things", "UpToDate", rows=1)
    me.until("featureservice", "model", "UpToDate")
    me.until("trainingset", "set", "UpToDate", rows=1)


def store(me: Rival, uri: str = "", secret: str = "s3", **spec: object) -> Object:
    offline: Object = {"uri": uri or me.root}
    if secret:
        offline["secretRef"] = {"name": secret}
    return me.of("FeatureStore", "default", {"offline": offline, "online": me.online, **spec})


def pipeline(me: Rival, name: str, uri: str, source: Object | None = None, **spec: object) -> Object:
    source = source or {"uri": uri, "format": "Parquet", **OWN}
    trigger = {"arrivals": {"pollInterval": "1s", "maxWait": "100ms"}}
    return me.of(
        "DataPipeline", name, {"source": source, "trigger": trigger, "deletionPolicy": "Delete", **spec}
    )


def ask_the_api_server(me: Rival, other: Rival) -> None:
    """What is the other's is asked of the API server itself."""
    names = [f"{kind}/{name}" for kind, name in other.resources()]
    there = ("-n", other.namespace)
    for command in (
        ("annotate", *names, "featurestore.dev/retry=1", "featurestore.dev/refresh=1"),
        ("delete", "--wait=false", *names),
        ("get", *names, "secret/s3"),
        ("create", "secret", "generic", "mine"),
    ):
        refusal = me.refused(*there, *command)
        assert refusal.count(f'in the namespace "{other.namespace}"') >= (
            len(names) if "/" in command[-1] else 1
        )
        assert refusal.count("forbidden") == refusal.count("in the namespace"), refusal
    policy = me.of(
        "FeatureStorePolicy", "mine", {"uriPrefixes": ["s3://ann-features/", "s3://ben-features/"]}
    )
    assert "forbidden" in me.refused("create", "-f", "-", stdin=json.dumps(policy))


def write_what_is_refused(me: Rival, other: Rival) -> None:
    """What no object may say, of whatever namespace it is."""
    chained = f"zip://*.parquet::{other.raw}/1.zip"
    labels = {"uri": chained, "timestampField": "ts", "columns": ["v"]}
    foreign = f"{other.namespace}/{other.user}-things"
    node = {"name": "node", "hostPath": {"path": "/"}}
    refused: list[tuple[Object, str]] = [
        (store(me, chained), "spec.offline"),
        (pipeline(me, "chained", chained), "spec.source"),
        (pipeline(me, "node", me.raw, job={"template": {"volumes": [node]}}), "spec.job.template.volumes[0]"),
        (
            pipeline(me, "ours", me.raw, job={"template": {"labels": {"featurestore.dev/x": "y"}}}),
            "spec.job.template",
        ),
        (me.of("TrainingSet", "chained", {"features": {"names": ["a:b"]}, "labels": labels}), "spec.labels"),
        (me.of("Erasure", "chained", {"view": "a", "keys": {"uri": chained}}), "spec.keys"),
        (me.of("Erasure", "foreign", {"view": foreign, "keys": {"uri": me.raw}}), "spec.view"),
        (
            me.of("FeatureView", "foreign", {"source": {"pipeline": f"{other.namespace}/a"}}),
            "spec.source.pipeline",
        ),
    ]
    refusals = me.refused(
        *("-n", me.namespace, "apply", "--dry-run=server", "-f", "-"),
        stdin=yaml.safe_dump_all(manifest for manifest, _ in refused),
    )
    assert refusals.count(" is invalid: ") == len(refused), refusals
    for _, place in refused:
        assert place in refusals, (place, refusals)


def tries(me: Rival, other: Rival, here: str) -> list[Try]:
    return [
        *source_tries(me, other, here),
        *pod_tries(me),
        *carrier_tries(me, here),
        *list_tries(me, other, here),
    ]


def source_tries(me: Rival, other: Rival, here: str) -> Iterator[Try]:
    """Pipelines that would have others' places opened."""
    fields = [{"name": "v", "type": "int"}]
    avro = {
        "schema": json.dumps({"type": "record", "name": "r", "fields": fields}),
        "registry": f"http://{here}",
    }
    read: Object = {"format": "JSON", "secretRef": {"name": "s3"}}
    theirs = {"uri": f"{other.raw}/*.parquet", "format": "Parquet"}
    not_allowed: dict[str, Object] = {
        "web": {"uri": f"http://{here}/a.parquet", "format": "Parquet", **OWN},
        "token": {"uri": "/var/run/secrets/kubernetes.io/serviceaccount/*", "format": "CSV"},
        "kafka": {"kafka": {"bootstrapServers": here, "topic": "t", **read}},
        "nats": {"nats": {"servers": here, "stream": "s", **read}},
        "redis": {"redis": {"url": f"{other.redis_url}/0", "stream": "s", **read}},
        "sql": {
            "sql": {"uri": f"postgresql://{here}/s", "table": "t", "watermark": "at", "key": "id", **OWN}
        },
        "registry": {"kafka": {"bootstrapServers": here, "topic": "t", "format": "Avro", "avro": avro}},
    }
    for name, source in not_allowed.items():
        kind = next((it for it in ("kafka", "nats", "redis", "sql") if it in source), "uri")
        yield source_try(me, name, source, "NotAllowed", f"spec.source.{kind}")
    file = {"uri": "file:///etc/*", "format": "CSV", **OWN}
    yield source_try(me, "file", file, "SpecInvalid", "spec.source.uri", "file:///etc/*")
    yield source_try(me, "raw", theirs, "SourceUnavailable", other.raw, "Access Denied")
    yield source_try(me, "raw-own-keys", {**theirs, **OWN}, "SourceUnavailable", other.raw, "Access Denied")
    for scheme in ("az", "gs"):
        uri = f"{scheme}://{other.bucket.name}/*.parquet"
        source = {"uri": uri, "format": "Parquet"}
        yield source_try(me, scheme, source, "SourceUnavailable", uri.rpartition("/")[0], "incomplete")


def source_try(me: Rival, name: str, source: Object, reason: str, *words: str) -> Try:
    return Try(pipeline(me, f"try-{name}", "", source), reason, words)


def pod_tries(me: Rival) -> Iterator[Try]:
    """Pods that would be somebody, or run what no policy lets them."""
    own = f"{me.raw}/*.parquet"
    templates: dict[str, tuple[Object, str]] = {
        "account": ({"serviceAccountName": "admin"}, "serviceAccountName"),
        "image": ({"image": "elsewhere/it:1"}, "image"),
        **{
            it.lower(): (
                {"volumes": [{"name": "t", "projected": {"sources": [{it: {}}]}}]},
                "volumes[0].projected",
            )
            for it in TOKENS
        },
    }
    for name, (template, field) in templates.items():
        wanted = pipeline(me, f"try-{name}", own, job={"template": template})
        words = (f"spec.job.template.{field}", "FeatureStorePolicy")
        yield Try(wanted, "Retrying", words, "Degraded")


def carrier_tries(me: Rival, here: str) -> Iterator[Try]:
    """Pipelines that would have others' servers subscribed to."""
    carriers: dict[str, Object] = {
        "nats": {"servers": here, "subject": "s"},
        "kafka": {"bootstrapServers": here, "topic": "t"},
        "redis": {"url": f"redis://{here}", "channel": "c"},
    }
    for name, carrier in carriers.items():
        trigger = {"notifications": {name: carrier}}
        wanted = pipeline(me, f"try-told-by-{name}", f"{me.raw}/none/*.parquet", trigger=trigger)
        yield Try(wanted, "NotAllowed", (here,), "Notified")


def list_tries(me: Rival, other: Rival, here: str) -> Iterator[Try]:
    """What reads, names or erases what is the other's."""
    theirs, own = f"{other.user}-things", f"{me.user}-things"
    yield Try(
        me.of("FeatureService", "try-theirs", {"features": [f"{theirs}:v"]}), "ResourceMissing", (theirs,)
    )
    foreign = me.of("FeatureService", "try-foreign", {"features": [f"{other.namespace}/{theirs}:v"]})
    yield Try(foreign, "SpecInvalid", ("spec.features[0]",))
    view: Object = {
        "entity": {"name": "thing", "joinKeys": [{"name": "k", "type": "string"}]},
        "source": {"pipeline": f"{other.user}-events"},
        "timestampField": "ts",
        "features": [{"name": "v", "type": "int64", "column": "v"}],
        "deletionPolicy": "Delete",
    }
    yield Try(me.of("FeatureView", "try", view), "PipelineMissing", (f"{other.user}-events",))
    file = f"{other.raw}/1.parquet"
    labels = {"timestampField": "ts", "columns": ["v"]}
    for name, uri, secret, reason, words in (
        ("no-secret", file, {}, "Retrying", ("spec.labels.uri", "FeatureStorePolicy")),
        ("own-keys", file, OWN, "Retrying", (other.raw, "Access Denied")),
        ("web", f"http://{here}/1.parquet", OWN, "Retrying", ("spec.labels.uri", "FeatureStorePolicy")),
    ):
        training = {"features": {"names": [f"{own}:v"]}, "labels": {**labels, "uri": uri, **secret}}
        wanted = me.of("TrainingSet", f"try-{name}", {**training, "deletionPolicy": "Delete"})
        yield Try(wanted, reason, words)
    for name, target, keys, reason, words in (
        ("their-view", {"view": theirs}, {"uri": file}, "ResourceMissing", (theirs,)),
        ("their-keys", {"entity": "thing"}, {"uri": file}, "Retrying", (file, "Forbidden")),
        ("web", {"entity": "thing"}, {"uri": f"http://{here}/k.csv"}, "NotAllowed", ("spec.keys.uri",)),
    ):
        yield Try(me.of("Erasure", f"try-{name}", {**target, "keys": keys}), reason, words)


def store_tries(me: Rival, other: Rival, here: str) -> Iterator[Try]:
    """What the namespace's only store would have opened, one after another."""
    events = {"sink": {"url": f"http://{here}/sink"}}
    managed = {"redis": {"managed": {"image": "elsewhere/redis:7"}}}
    serving = {"template": {"image": "elsewhere/it:1"}}
    yield Try(store(me, events=events), "NotAllowed", ("spec.events.sink.url",))
    yield Try(store(me, online=other.online), "NotAllowed", ("spec.online.redis",))
    yield Try(store(me, online=managed), "NotAllowed", ("spec.online.redis.managed.image",))
    yield Try(store(me, serving=serving), "NotAllowed", ("spec.serving.template.image",))
    yield Try(store(me, other.root, secret=""), "NotAllowed", ("spec.offline.uri", "FeatureStorePolicy"))
    yield Try(store(me, other.root), "NotObserved", (other.root, "AccessDenied"))
    yield Try(store(me, f"http://{here}/root"), "NotAllowed", ("spec.offline.uri",))
    yield Try(store(me, "/var/run/secrets"), "NotAllowed", ("spec.offline.uri",))


def answered(me: Rival, tried: Sequence[Try]) -> None:
    """Return once this person was told of each try, of its spec as it is now."""
    waiting = [*tried]

    def all_told() -> bool:
        waiting[:] = [it for it in waiting if not told(me, it)]
        return not waiting

    eventually(all_told, PATIENCE_S, lambda: f"{[it.name for it in waiting]}\n{me.told()}", each_s=LOOK_S)


def told(me: Rival, tried: Try) -> bool:
    item, condition = me.get(*tried.key), me.condition(*tried.key, tried.condition)
    current = item.get("status", {}).get("observedGeneration") == item["metadata"]["generation"]
    return (
        current
        and condition.get("reason") == tried.reason
        and all(word in condition["message"] for word in tried.words)
    )


def differences(now: dict[str, bytes], before: dict[str, bytes]) -> list[str]:
    """Names of objects that are other than before, but for what the registry remembers of one's own tries."""
    changed = {name for name in {*now, *before} if now.get(name) != before.get(name)}
    return sorted(name for name in changed if not REMEMBERED.match(name))
