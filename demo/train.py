"""What the features are worth: a small model that guesses, before departure, whether a flight lands late."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

import featurestore

FEATURES = [
    "aircraft-delays:last_arr_delay",
    "aircraft-delays:seats",
    "aircraft-delays:arr_delay_mean_1d",
    "aircraft-delays:arr_delay_mean_7d",
    "airport-traffic:dep_delay_mean_1h",
    "airport-traffic:dep_delay_mean_3h",
    "airport-traffic:departures_1h",
    "route-delays:route_delay_mean_1d",
    "route-delays:route_delay_mean_14d",
    "airport-weather:temp",
    "airport-weather:wind_speed",
    "airport-weather:visib",
    "airport-weather:rain",
]
KNOWN_BEFORE = ["hour", "weekday", "distance", "month"]
LABELS = 60_000
LATE_MINUTES = 15


@dataclass(frozen=True)
class Outcome:
    """``seconds``: what the point-in-time join took. ``auc``: area under the ROC curve, without and with."""

    frame: pl.DataFrame
    seconds: float
    auc_without: float
    auc_with: float


def labels(staged_flights: list[str]) -> pl.DataFrame:
    """Flights as they stood in the timetable, and whether they came late; a random sample in order of time."""
    flights = pl.concat(
        [pl.read_parquet(path).with_columns(pl.col("distance").cast(pl.Float64)) for path in staged_flights]
    )
    return (
        flights.filter(pl.col("tailnum").is_not_null() & pl.col("arr_delay").is_not_null())
        .with_columns(event_timestamp=pl.col("time_hour") + pl.duration(minutes=pl.col("minute")))
        .select(
            "tailnum",
            "carrier",
            "origin",
            "dest",
            "event_timestamp",
            "hour",
            "distance",
            "month",
            weekday=pl.col("event_timestamp").dt.weekday(),
            late=pl.col("arr_delay") > LATE_MINUTES,
        )
        .sample(LABELS, seed=7)
        .sort("event_timestamp")
    )


def train(store: featurestore.Store, entities: pl.DataFrame) -> Outcome:
    """Read features as they were before each departure, train on the first three quarters, judge on the rest."""
    begin = time.perf_counter()
    frame = store.get_features(FEATURES, entities, timestamp_column="event_timestamp").to_polars()
    seconds = time.perf_counter() - begin
    names = [feature.split(":")[1] for feature in FEATURES]
    return Outcome(frame, seconds, _auc(frame, KNOWN_BEFORE), _auc(frame, KNOWN_BEFORE + names))


def _auc(frame: pl.DataFrame, columns: list[str]) -> float:
    values = frame.select(pl.col(columns).cast(pl.Float64)).to_numpy()
    late = frame["late"].to_numpy().astype(np.int64)
    cut = len(frame) * 3 // 4
    model = HistGradientBoostingClassifier(learning_rate=0.25, max_iter=20, random_state=0)
    model.fit(values[:cut], late[:cut])
    return float(roc_auc_score(late[cut:], model.predict_proba(values[cut:])[:, 1]))
