"""What Feast answers, as JSON. Run by the interpreter that has Feast, as a script:

    python feast_answers.py QUESTIONS ANSWERS

``QUESTIONS``: a list of ``{"repository", "init", "views", "materialize", "join", "online"}``. With ``init``, what ``feast
init`` calls makes the repository in that folder, and all of it is applied; else the ``views`` are. ``materialize`` names
those that are read online. ``join`` is a list of ``{"features", "labels"}``, rows with an ISO ``event_timestamp``;
``online`` of ``{"features", "entities"}``. ``features`` is a list, or the name of a service. An answer to ``init`` has the
public ``names`` of Feast as well.
"""

import json
import math
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import feast
import pandas as pd
from feast import FeatureStore
from feast.cli.cli import cli
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.repo_config import load_repo_config
from feast.repo_operations import apply_total, init_repo, parse_repo

ROW = "row"
"""A column that tells which label a row of an answer is of: Feast gives them in another order, and not all."""


def answers(question: dict[str, Any]) -> dict[str, Any]:
    """``{"join": [rows …], "online": [{"values": rows, "statuses": rows} …]}``, each as asked."""
    folder = Path(question["repository"])
    if question["init"]:
        os.chdir(folder.parents[1])
        init_repo(folder.parent.name, "local")
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    store = FeatureStore(repo_path=str(folder))
    if question["init"]:
        apply_total(load_repo_config(folder, folder / "feature_store.yaml"), folder, False)
    else:
        found = parse_repo(folder)
        views = [it for it in found.feature_views if it.name in question["views"]]
        needed = {name for view in views for name in view.entities}
        views += [it for it in found.on_demand_feature_views if it.name in question["views"]]
        store.apply([*(it for it in found.entities if it.name in needed), *views])
    sys.path.remove(str(folder))
    start, now = datetime(2000, 1, 1, tzinfo=UTC), datetime.now(UTC)
    store.materialize(start, now, feature_views=question["materialize"])
    return {
        "join": [join(store, it["features"], it["labels"]) for it in question["join"]],
        "online": [online(store, it["features"], it["entities"]) for it in question["online"]],
        "names": public_names() if question["init"] else {},
    }


def public_names() -> dict[str, list[str]]:
    return {
        "Methods of `FeatureStore`": [name for name in dir(FeatureStore) if not name.startswith("_")],
        "What `feast` exports": list(feast.__all__),
        "Commands": commands(cli),
    }


def commands(group: Any) -> list[str]:
    """``feature-views list`` and all others, those of groups in groups too."""
    listed = []
    for name, command in group.commands.items():
        below = commands(command) if hasattr(command, "commands") else [""]
        listed += [f"{name} {rest}".strip() for rest in below]
    return listed


def requested(store: FeatureStore, features: Any) -> Any:
    return store.get_feature_service(features) if isinstance(features, str) else features


def join(store: FeatureStore, features: Any, labels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    frame = pd.DataFrame(labels)
    frame["event_timestamp"] = pd.to_datetime(frame["event_timestamp"], utc=True, format="ISO8601")
    frame[ROW] = range(len(frame))
    found = store.get_historical_features(entity_df=frame, features=requested(store, features)).to_df()
    rows = found.sort_values(ROW).drop(columns="event_timestamp").to_dict("records")
    return [{name: plain(value) for name, value in row.items()} for row in rows]


def online(store: FeatureStore, features: Any, entities: list[dict[str, Any]]) -> dict[str, Any]:
    found = store.get_online_features(features=requested(store, features), entity_rows=entities)
    values = found.to_dict()
    statuses = dict(zip(found.proto.metadata.feature_names.val, found.proto.results, strict=True))
    return {
        "values": [{name: plain(values[name][n]) for name in values} for n in range(len(entities))],
        "statuses": [
            {name: FieldStatus.Name(it.statuses[n]) for name, it in statuses.items()}
            for n in range(len(entities))
        ],
    }


def plain(value: Any) -> Any:
    """As JSON has it: no number is null, a time is text."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if value is None or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, datetime):
        return (
            pd.Timestamp(value).tz_convert("UTC").isoformat()
            if value.tzinfo
            else f"{value.isoformat()}+00:00"
        )
    return value


if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text())
    Path(sys.argv[2]).write_text(json.dumps([answers(it) for it in asked]))
