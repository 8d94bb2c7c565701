"""Projects that pages are looked at: one with all that can be shown and what must not be obeyed, and a crowd of views."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from feature_server import STORE, featurestore

from featurestore.protocol import TrainingSetRequest
from featurestore.registry.registry import Registry
from featurestore.resources import TrainingSet
from featurestore.storage.objects import Storage
from featurestore.training.trained_models import TrainedModel, record_model
from featurestore.training.training_versions import find_version
from featurestore.training.view_drift import PastDrift, read_drift, record_drift
from featurestore.views.builds import read_active_build
from featurestore_transforms.training.make_version import run_training_set

SCRIPT = "<script>document.title='owned'</script>"
QUOTE = "\"'><img src=x onerror=\"document.title='owned'\">"
CONTROL = "\x1b[2J\x00\u202e"
LONG = "a-name-that-is-as-long-as-a-name-of-a-view-may-be-at-the-most"
CROWD = 200

SHOWN = f"""\
kind: DataPipeline
metadata: {{name: flights}}
spec:
  description: Every flight out of New York, as it landed.
  owner: flight-data
  tags: {{team: flights, source: faa}}
  source: {{uri: raw/flights/*.parquet, format: Parquet}}
  trigger: {{arrivals: {{pollInterval: 1s, maxWait: 0s, maxFiles: 1}}}}
  expectations:
  - {{name: plausible-delay, that: "arr_delay BETWEEN -200 AND 2000", otherwise: Quarantine}}
  - {{name: known-airport, that: "dest <> 'XXX'", otherwise: Quarantine}}
---
kind: DataPipeline
metadata: {{name: weather}}
spec:
  owner: weather
  source: {{uri: raw/weather/*.parquet, format: Parquet}}
  trigger: {{arrivals: {{pollInterval: 1s, maxWait: 0s}}}}
---
kind: DataPipeline
metadata: {{name: bookings}}
spec:
  description: Not delivered yet.
  source: {{uri: raw/bookings/*.csv, format: CSV}}
---
kind: FeatureView
metadata: {{name: aircraft-delays}}
spec:
  description: How late an aircraft was, last and on average.
  owner: ops-ml
  tags: {{team: operations, tier: gold}}
  entity: {{name: aircraft, joinKeys: [{{name: tailnum, type: string}}]}}
  source: {{pipeline: flights}}
  timestampField: at
  ttl: 3650d
  features:
  - {{name: last_delay, type: float64, column: arr_delay, description: Minutes that the last flight was late.}}
  - {{name: carrier, type: string}}
  - {{name: cancelled, type: bool}}
  - {{name: stops, type: "list<string>"}}
  - {{name: seats, type: int64}}
  - {{name: delay_mean, type: float64, aggregate: {{function: Mean, column: arr_delay, windows: [1d, 7d]}}}}
  monitoring: {{reference: {{trainingSet: delays}}, drift: [{{metric: PSI, above: 0.2}}]}}
---
kind: FeatureView
metadata: {{name: routes}}
spec:
  description: What a route is like on a day.
  owner: ops-ml
  tags: {{team: operations}}
  entity: {{name: route, joinKeys: [{{name: dest, type: string}}, {{name: number, type: int32}}]}}
  source: {{pipeline: flights}}
  timestampField: at
  ttl: 3650d
  features:
  - {{name: delay, type: float64, column: arr_delay}}
---
kind: FeatureView
metadata: {{name: airport-weather}}
spec:
  description: {SCRIPT}
  owner: weather
  tags: {{"{QUOTE.replace('"', chr(92) + '"')}": "b\\ttext"}}
  entity: {{name: airport, joinKeys: [{{name: dest, type: string}}]}}
  source: {{pipeline: weather}}
  timestampField: at
  features:
  - {{name: temperature, type: float64}}
  - {{name: remark, type: string}}
---
kind: FeatureView
metadata: {{name: {LONG}}}
spec:
  description: It stays as it is.
  suspend: Suspended
  entity: {{name: aircraft, joinKeys: [{{name: tailnum, type: string}}]}}
  source: {{pipeline: bookings}}
  timestampField: at
  features:
  - {{name: {"much_".ljust(60, "x")}, type: float64}}
---
kind: FeatureView
metadata: {{name: delay-share}}
spec:
  description: How much of the time to departure the last delay would take.
  owner: ops-ml
  onDemand:
    request: [{{name: minutes, type: float64}}]
    inputs: ["aircraft-delays:last_delay"]
  features:
  - {{name: share, type: float64, expression: "last_delay / NULLIF(minutes, 0)"}}
---
kind: FeatureService
metadata: {{name: delay-model}}
spec:
  description: What the model of delays reads.
  owner: ops-ml
  tags: {{team: operations}}
  features:
  - "aircraft-delays:*"
  - "delay-share:*"
  - {{view: airport-weather, joinKeyMap: {{dest: origin}}, features: [temperature]}}
---
kind: FeatureService
metadata: {{name: last-delay}}
spec: {{owner: ops-ml, features: ["aircraft-delays:last_delay"]}}
---
kind: TrainingSet
metadata: {{name: delays}}
spec:
  description: What models of delays are trained on.
  features: {{service: last-delay}}
  labels: {{pipeline: flights, timestampField: at, columns: [arr_delay]}}
"""
MODEL = "delays of flights"
START = datetime(2026, 1, 2, tzinfo=UTC)


def shown_project(folder: Path) -> Path:
    """A project with several batches, refused rows, windows, a view on demand, a service, and hostile texts."""
    for name in ("flights", "weather", "bookings"):
        (folder / "raw" / name).mkdir(parents=True)
    (folder / "store.yaml").write_text(STORE % "{duckdb: {}}")
    (folder / "project.yaml").write_text(SHOWN)
    for day, rows in enumerate((400, 900, 650, 1200, 300)):
        flights(day, rows).write_parquet(folder / "raw" / "flights" / f"2026-01-0{day + 2}.parquet")
    weather().write_parquet(folder / "raw" / "weather" / "1.parquet")
    featurestore(folder, "apply", "-f", ".")
    featurestore(folder, "run", "--once")
    storage = Storage(str(folder / "root"))
    remember_drift(storage)
    made = find_version(storage, "delays", None)
    for number in (1, 2):
        record_model(
            storage,
            TrainedModel(
                name=MODEL,
                model_version=str(number),
                uri=f"models:/m-{number}",
                tracking_uri=f"https://mlflow/{SCRIPT}",
                run="8f2c",
                training_set="delays",
                version=made.number,
                digest=made.digest,
                service="last-delay",
                columns=("last_delay", QUOTE),
                logged_us=1_767_225_600_000_000 + number,
            ),
        )
    make_another_version(storage)
    return folder


def make_another_version(storage: Storage) -> None:
    """As if the training set had taken fewer labels for a while."""
    registry = Registry(storage)
    accepted = registry.current(TrainingSet, "delays")
    assert accepted is not None
    labels = accepted.resource.spec.labels.model_copy(update={"filter": "arr_delay > 0"})
    spec = accepted.resource.spec.model_copy(update={"labels": labels})
    registry.accept(accepted.resource.model_copy(update={"spec": spec}))
    run_training_set(storage, TrainingSetRequest(root=storage.root, name="delays", number=2), lambda _: None)
    registry.accept(accepted.resource)


def remember_drift(storage: Storage) -> None:
    """As if the newest values of a view had been compared at more commits."""
    serving = read_active_build(storage, "aircraft-delays")
    assert serving is not None
    drift = read_drift(storage, "aircraft-delays", serving.digest)
    assert drift is not None
    past = [
        PastDrift(commit=commit, number=1, greatest={"PSI": ("last_delay", value)})
        for commit, value in enumerate((0.02, 0.6, 0.19), start=1)
    ]
    drift = drift.model_copy(update={"history": (*past, *drift.history[-1:])})
    record_drift(storage, "aircraft-delays", serving.digest, drift)


def flights(day: int, rows: int) -> pl.DataFrame:
    """Flights of a day. Of some the delay is not plausible, of one the destination is what no page may obey."""
    numbers = range(rows)
    return pl.DataFrame(
        {
            "tailnum": [f"N{n % 120}" for n in numbers],
            "number": pl.Series([n % 7 for n in numbers], dtype=pl.Int32),
            "dest": [("BOS", "LAX", "SFO", "ORD")[n % 4] if n != 7 else "XXX" for n in numbers],
            "arr_delay": [float((n * 37 + day * 11) % 181 - 30) if n % 97 else 9000.0 + n for n in numbers],
            "carrier": [None if n % 9 == 0 else ("UA", "AA", "B6", SCRIPT)[(n // 3) % 4] for n in numbers],
            "cancelled": [n % 13 == 0 for n in numbers],
            "stops": [["BOS", "ORD"][: n % 3] for n in numbers],
            "seats": [100 + (n * 7) % 140 for n in numbers],
            "at": [START + timedelta(days=day, seconds=n * 60) for n in numbers],
        }
    )


def weather() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "dest": ["BOS", "LAX", QUOTE],
            "temperature": [1.5, float("inf"), None],
            "remark": [CONTROL, SCRIPT, "x" * 5000],
            "at": [START] * 3,
        }
    )


def crowded_project(folder: Path) -> Path:
    """A project with many views that nothing was made of yet."""
    folder.mkdir(parents=True)
    (folder / "store.yaml").write_text(STORE % "{duckdb: {}}")
    pipeline = "kind: DataPipeline\nmetadata: {name: one}\nspec: {source: {uri: raw/*.csv, format: CSV}}\n"
    views = [
        f"kind: FeatureView\nmetadata: {{name: view-{n:03d}}}\nspec:\n  owner: team-{n % 5}\n  tags: {{shard: s{n % 10}}}\n"
        "  entity: {name: e, joinKeys: [{name: k, type: string}]}\n  source: {pipeline: one}\n  timestampField: at\n"
        f"  features: [{{name: f{n}, type: float64}}]\n"
        for n in range(CROWD)
    ]
    (folder / "project.yaml").write_text("---\n".join([pipeline, *views]))
    featurestore(folder, "apply", "-f", ".")
    return folder
