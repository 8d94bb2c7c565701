"""The pipeline and the view that tests of sources other than files are about."""

from __future__ import annotations

from datetime import UTC, datetime

START = datetime(2024, 1, 1, tzinfo=UTC)
NAME = "events"
SMALL = {"name": "small", "that": "n < 100"}
STEPS = [
    *("after-manifest", "after-quarantine-commit", "after-dataset-commit", "after-result"),
    *("after-build-commit", "before-promote", "after-promote"),
]
VIEW = {
    "kind": "FeatureView",
    "metadata": {"name": "levels"},
    "spec": {
        "entity": {"name": "level", "joinKeys": [{"name": "level", "type": "string"}]},
        "source": {"pipeline": NAME},
        "timestampField": "at",
        "features": [{"name": "n", "type": "int64", "column": "n"}],
        "online": {"enabled": "Never"},
    },
}
