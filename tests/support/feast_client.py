"""Run by an interpreter that has Feast: its own client reads from a feature server, and says as JSON what it got.

``python feast_client.py FOLDER URL``: makes a repository in the folder whose online store is the server.
"""

# mypy: ignore-errors
from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource
from feast.types import Bool, Float64, Int64, String, UnixTimestamp
from feast.value_type import ValueType

FEATURES = {"delay": Int64, "ratio": Float64, "note": String, "late": Bool, "seen": UnixTimestamp}


def main(folder: Path, url: str) -> None:
    (folder / "feature_store.yaml").write_text(
        f"project: project\nprovider: local\nregistry: {folder}/registry.db\n"
        f"online_store: {{type: remote, path: {url}}}\noffline_store: {{type: file}}\n"
        "entity_key_serialization_version: 3\n"
    )
    store = FeatureStore(repo_path=str(folder))
    aircraft = Entity(name="aircraft", join_keys=["tailnum"], value_type=ValueType.STRING)
    source = FileSource(path=str(folder / "none.parquet"), timestamp_field="at")
    fields = [Field(name=name, dtype=kind) for name, kind in FEATURES.items()]
    view = FeatureView(name="aircraft_delays", entities=[aircraft], schema=fields, source=source)
    store.apply([aircraft, view, FeatureService(name="all", features=[view])])
    rows = [{"tailnum": name} for name in ("N1", "N2", "N9", "E3")]
    names = [f"aircraft_delays:{name}" for name in FEATURES]
    answer = store.get_online_features(names, rows).to_dict()
    full = store.get_online_features(names[:1], rows, full_feature_names=True).to_dict()
    print(json.dumps({"answer": answer, "full": full}, default=_time))


def _time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
