"""Nobody has the operator reach for them what is not theirs: who may write resources in one namespace is nobody elsewhere."""

from __future__ import annotations

import http.server
import json
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import storage_server
from cluster.control_plane import ControlPlane
from cluster.fixtures import namespace_of
from hypothesis import given
from hypothesis import strategies as st
from tenants import Object, Tenants

from featurestore_operator.policies.permissions import lies_below


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the bucket ``features``, of which the operator's own identity reaches all."""
    with storage_server.buckets(tmp_path / "s3", "features") as credentials:
        for name, value in credentials.items():
            monkeypatch.setenv(name, value)
        yield tmp_path / "s3" / "features"


@pytest.fixture
def them(control_plane: ControlPlane) -> Iterator[Tenants]:
    tenants = Tenants(control_plane)
    yield tenants
    tenants.close()


@pytest.fixture
def other(control_plane: ControlPlane) -> Iterator[str]:
    with namespace_of(control_plane) as name:
        yield name


def objects(bucket: Path) -> dict[str, bytes]:
    return {str(it.relative_to(bucket)): it.read_bytes() for it in bucket.rglob("*") if it.is_file()}


def arrived(bucket: Path, folder: str) -> None:
    (bucket / folder / "raw").mkdir(parents=True)
    (bucket / folder / "raw" / "a.parquet").write_bytes(b"")


def test_without_a_secret_and_a_policy_nothing_is_opened(them: Tenants, namespace: str, bucket: Path) -> None:
    them.store(namespace, f"s3://features/{namespace}")
    ready = them.looked_at(namespace)["Ready"]
    assert (ready["status"], ready["reason"]) == ("False", "NotAllowed")
    assert "a secretRef" in ready["message"]
    assert "FeatureStorePolicy" in ready["message"]
    assert objects(bucket) == {}


def test_a_policy_allows_a_namespace_its_own_prefix_and_no_other(
    them: Tenants, namespace: str, other: str, bucket: Path
) -> None:
    them.allow(f"own-{namespace}", {"names": [namespace, other]}, uriPrefixes=["s3://features/{namespace}/"])
    them.store(namespace, f"s3://features/{namespace}/store")
    assert them.looked_at(namespace)["Ready"]["status"] == "True"
    before = objects(bucket)
    them.store(other, f"s3://features/{namespace}/store")
    assert them.looked_at(other)["Ready"]["reason"] == "NotAllowed"
    assert objects(bucket) == before


def test_an_admin_without_a_secret_deletes_nothing_of_another(
    them: Tenants, namespace: str, other: str, bucket: Path
) -> None:
    them.allow(f"own-{namespace}", {"names": [namespace]}, uriPrefixes=["s3://features/{namespace}/"])
    arrived(bucket, namespace)
    root = f"s3://features/{namespace}/store"
    them.store(namespace, root)
    them.pipeline(namespace, f"s3://features/{namespace}/raw/*.parquet")
    assert len(them.jobs(namespace)) == 0
    them.looked_at(namespace, "DataPipeline")
    assert len(them.jobs(namespace)) == 1
    before = objects(bucket)
    them.store(other, root)
    them.pipeline(other, f"s3://features/{namespace}/raw/*.parquet", deletionPolicy="Delete")
    assert them.looked_at(other, "DataPipeline")["Ready"]["reason"] == "NotAllowed"
    them.delete(other)
    assert objects(bucket) == before
    assert them.jobs(other) == []


def test_a_policy_that_is_taken_away_allows_nothing_any_more(
    them: Tenants, namespace: str, bucket: Path
) -> None:
    them.allow(f"own-{namespace}", {"names": [namespace]}, uriPrefixes=["s3://features/"])
    them.store(namespace, f"s3://features/{namespace}")
    assert them.looked_at(namespace)["Ready"]["status"] == "True"
    them.forbid(f"own-{namespace}")
    assert them.looked_at(namespace)["Ready"]["reason"] == "NotAllowed"


def test_a_policy_is_about_the_namespaces_that_have_its_labels(
    them: Tenants, namespace: str, other: str, bucket: Path
) -> None:
    them.plane.kubectl("label", "namespace", namespace, "team=a")
    them.allow(f"labels-{namespace}", {"matchLabels": {"team": "a"}}, uriPrefixes=["s3://features/"])
    for each in (namespace, other):
        them.store(each, f"s3://features/{each}")
    assert them.looked_at(namespace)["Ready"]["status"] == "True"
    assert them.looked_at(other)["Ready"]["reason"] == "NotAllowed"


def test_two_namespaces_never_share_a_root(them: Tenants, namespace: str, other: str, bucket: Path) -> None:
    root = "s3://features/shared"
    them.allow(f"all-{namespace}", {"names": [namespace, other]}, uriPrefixes=["s3://features/"])
    arrived(bucket, "files")
    for each in (namespace, other):
        them.store(each, root)
        them.pipeline(each, "s3://features/files/raw/*.parquet", deletionPolicy="Delete")
    assert them.looked_at(namespace)["Ready"]["status"] == "True"
    them.looked_at(namespace, "DataPipeline")
    before = objects(bucket)
    refused = them.looked_at(other)["Ready"]
    assert refused["reason"] == "StoreInvalid"
    assert f"namespace {namespace!r}" in refused["message"]
    them.looked_at(other, "DataPipeline")
    them.delete(other)
    assert objects(bucket) == before
    # What the message says, somebody does who knows that the first one gave it up.
    words = refused["message"].partition("featurestore.dev/take-over=")[2].split()
    them.store(other, root, **{"featurestore.dev/take-over": words[0].strip(".")})
    assert them.looked_at(other)["Ready"]["status"] == "True"
    them.now_us += 301_000_000
    assert them.looked_at(namespace)["Ready"]["reason"] == "StoreInvalid"


def test_the_operator_fetches_no_url_and_lists_no_folder_of_its_own_for_a_namespace(
    them: Tenants, namespace: str, bucket: Path, tmp_path: Path
) -> None:
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        them.allow(f"own-{namespace}", {"names": [namespace]}, uriPrefixes=["s3://features/"])
        them.store(namespace, f"s3://features/{namespace}")
        (tmp_path / "token.parquet").write_bytes(b"secret")
        port = server.server_address[1]
        for uri in (f"http://127.0.0.1:{port}/a.parquet", f"{tmp_path}/*.parquet", "gs://features/*.parquet"):
            them.pipeline(namespace, uri)
            said = them.looked_at(namespace, "DataPipeline")
            assert said["SourceReachable"]["reason"] == said["Ready"]["reason"] == "NotAllowed", uri
        assert asked == []
        assert them.jobs(namespace) == []
        them.allow(f"web-{namespace}", {"names": [namespace]}, uriPrefixes=[f"http://127.0.0.1:{port}/"])
        them.pipeline(namespace, f"http://127.0.0.1:{port}/a.parquet")
        assert them.looked_at(namespace, "DataPipeline")["Ready"]["reason"] != "NotAllowed"
        assert asked != []
    finally:
        server.shutdown()
        server.server_close()


def test_no_server_of_a_stream_no_registry_and_no_other_storage_is_asked_without_a_policy(
    them: Tenants, namespace: str, bucket: Path, listener: socket.socket
) -> None:
    here = f"127.0.0.1:{listener.getsockname()[1]}"
    allowed = ["s3://features/", "kafka://allowed:9092/", "nats://allowed:4222/"]
    them.allow(f"own-{namespace}", {"names": [namespace]}, uriPrefixes=allowed)
    them.store(namespace, f"s3://features/{namespace}")
    them.secret(
        namespace, "own", KAFKA_SASL_USERNAME="x", NATS_TOKEN="x", REDIS_PASSWORD="x", POSTGRES_USERNAME="x"
    )
    fields = [{"name": "v", "type": "int"}]
    schema = json.dumps({"type": "record", "name": "r", "fields": fields})
    avro = {"format": "Avro", "avro": {"schema": schema, "registry": f"http://{here}"}}
    login: Object = {"secretRef": {"name": "own"}}
    own: Object = {"format": "JSON", **login}
    sources: dict[str, Object] = {
        "kafka": {"kafka": {"bootstrapServers": f"allowed:9092,{here}", "topic": "t", **own}},
        "nats": {"nats": {"servers": f"allowed:4222,{here}", "stream": "s", **own}},
        "redis": {"redis": {"url": f"redis://{here}/0", "stream": "s", **own}},
        "sql": {
            "sql": {"uri": f"postgresql://{here}/shop", "table": "t", "watermark": "at", "key": "id", **login}
        },
        "registry": {"kafka": {"bootstrapServers": "allowed:9092", "topic": "t", **avro}},
        "delta": {"delta": {"uri": "s3://lake/orders"}},
        "iceberg": {"iceberg": {"uri": "s3://lake/trips"}},
        # Credentials of the namespace open object storage, and no folder of the operator's machine.
        "iceberg-of-a-folder": {"iceberg": {"uri": "/lake/trips", **login}},
        "iceberg-of-google": {"iceberg": {"uri": "gs://features/trips"}},
        "azure": {"uri": "az://features/*.parquet", "format": "Parquet"},
        "google": {"uri": "gs://features/*.parquet", "format": "Parquet"},
    }
    for name, source in sources.items():
        them.pipeline(namespace, "", name=name, source=source)
        conditions = them.looked_at(namespace, "DataPipeline", name)
        assert conditions["SourceReachable"]["reason"] == "NotAllowed", (name, conditions)
    assert nobody_came(listener)
    assert them.jobs(namespace) == []


def test_no_carrier_of_notifications_is_subscribed_to_without_a_policy(
    them: Tenants, namespace: str, bucket: Path, listener: socket.socket
) -> None:
    here = f"127.0.0.1:{listener.getsockname()[1]}"
    them.allow(f"own-{namespace}", {"names": [namespace]}, uriPrefixes=["s3://features/"])
    them.store(namespace, f"s3://features/{namespace}")
    carriers: dict[str, Object] = {
        "nats": {"servers": here, "subject": "s"},
        "kafka": {"bootstrapServers": here, "topic": "t"},
        "redis": {"url": f"redis://{here}", "channel": "c"},
    }
    for name, carrier in carriers.items():
        trigger = {"notifications": {name: carrier}}
        them.pipeline(namespace, "s3://features/raw/*.parquet", name=name, trigger=trigger)
        conditions = them.looked_at(namespace, "DataPipeline", name)
        assert conditions["Notified"]["reason"] == "NotAllowed", (name, conditions)
    assert nobody_came(listener)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server of somebody else's, of which only the system knows that somebody connected."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def nobody_came(listener: socket.socket) -> bool:
    return not select.select([listener], [], [], 0)[0]


def test_the_operator_connects_to_no_redis_that_a_policy_does_not_name(
    them: Tenants, namespace: str, bucket: Path, listener: socket.socket
) -> None:
    port, only = listener.getsockname()[1], {"names": [namespace]}
    them.secret(namespace, "own", REDIS_PASSWORD="x")
    prefixes = ["s3://features/", "redis://allowed:6379/", "redis://127.0.0.1:1/"]
    them.allow(f"own-{namespace}", only, uriPrefixes=prefixes)
    for url in (
        f"redis://127.0.0.1:{port}/0",
        f"rediss://127.0.0.1:{port}",
        f"redis+sentinel://127.0.0.1:{port}/main",
        f"redis+cluster://allowed:6379,127.0.0.1:{port}",
        f"redis://allowed/0?port={port}",
        f"redis://:6379/0?host=127.0.0.1&port={port}",
    ):
        for secret in ({}, {"secretRef": {"name": "own"}}):
            them.store(
                namespace,
                f"s3://features/{namespace}",
                online={"redis": {"url": url, "secretRef": None, **secret}},
            )
            ready = them.looked_at(namespace)["Ready"]
            assert (ready["status"], ready["reason"]) == ("False", "NotAllowed"), url
            assert "spec.online.redis" in ready["message"], url
    assert objects(bucket) == {}
    assert nobody_came(listener)


def test_a_redis_that_a_policy_names_is_asked_and_one_that_the_operator_keeps_needs_none(
    them: Tenants, namespace: str, other: str, bucket: Path, listener: socket.socket
) -> None:
    port, both = listener.getsockname()[1], {"names": [namespace, other]}
    prefixes = ["s3://features/", f"redis://127.0.0.1:{port}/"]
    them.allow(f"own-{namespace}", both, uriPrefixes=prefixes)
    listener.close()
    url = f"redis://127.0.0.1:{port}/0"
    for each, online in ((namespace, {"redis": {"url": url}}), (other, {"redis": {"managed": {}}})):
        them.store(each, f"s3://features/{each}", online=online)
        assert them.looked_at(each)["OfflineReachable"]["status"] == "True"
        assert them.looked_at(each)["OnlineReachable"]["reason"] != "NotAllowed"


TOKEN = {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}


@pytest.mark.parametrize(
    ("template", "allowing"),
    [
        ({"serviceAccountName": "admin"}, {"serviceAccountNames": ["admin"]}),
        ({"volumes": [TOKEN]}, {"projectedTokens": "Allowed"}),
        ({"image": "elsewhere/it:1"}, {"imagePrefixes": ["here/", "elsewhere/"]}),
    ],
    ids=["account", "token", "image"],
)
def test_a_job_is_who_it_may_be_and_runs_what_it_may(
    them: Tenants, namespace: str, bucket: Path, template: dict[str, object], allowing: dict[str, object]
) -> None:
    arrived(bucket, namespace)
    only = {"names": [namespace]}
    them.allow(f"own-{namespace}", only, uriPrefixes=["s3://features/"], imagePrefixes=["here/"])
    them.store(namespace, f"s3://features/{namespace}/store")
    them.pipeline(namespace, f"s3://features/{namespace}/raw/*.parquet", template)
    said = them.looked_at(namespace, "DataPipeline")
    assert "FeatureStorePolicy" in said["Degraded"]["message"], said
    assert them.jobs(namespace) == []
    them.allow(f"more-{namespace}", only, **allowing)
    them.now_us += 3_600_000_000
    them.looked_at(namespace, "DataPipeline")
    assert len(them.jobs(namespace)) == 1


NAMES = st.sampled_from(["a", "b", "ab", ".", "..", "", "*", "%2e", "a#", "\\", "c:"])


@given(
    st.lists(NAMES, max_size=5),
    st.sampled_from(["s3://", "S3://", "s3a://", "s3:/", "/", "http://", "gs://"]),
)
def test_nothing_lies_below_a_prefix_but_what_is_spelled_so(names: list[str], scheme: str) -> None:
    if lies_below(scheme + "/".join(names), "s3://a/b/"):
        assert scheme.lower() in ("s3://", "s3a://")
        assert names[:2] == ["a", "b"]
        assert not {".", "..", "%2e", "a#", "\\"} & {*names}


def test_labels_without_a_secret_are_read_only_where_a_policy_allows_it(
    them: Tenants, namespace: str, bucket: Path
) -> None:
    them.allow(f"own-{namespace}", {"names": [namespace]}, uriPrefixes=["s3://features/{namespace}/"])
    them.store(namespace, f"s3://features/{namespace}/store")
    assert them.looked_at(namespace)["Ready"]["status"] == "True"
    for name, uri in (
        ("own", f"s3://features/{namespace}/l.parquet"),
        ("other", "s3://features/x/l.parquet"),
    ):
        them.training_set(namespace, name, uri)
    them.looked_at(namespace, "FeatureView", "twice")
    refused = them.looked_at(namespace, "TrainingSet", "other")["Ready"]
    assert refused["status"] == "False"
    assert "may not have this opened" in refused["message"]
    assert "spec.labels.uri" in refused["message"]
    assert them.jobs(namespace) == []
    them.looked_at(namespace, "TrainingSet", "own")
    assert len(them.jobs(namespace)) == 1
