"""A view of Feast, what it becomes here, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from featurestore.feast.repository import FeastEntity, FeastField, FeastSource, FeastView, Repository
from featurestore.feast.translation import Translation, translate

PROJECT = Path("/srv/project")
DRIVER = FeastEntity(name="driver", join_key="driver_id", type="UNKNOWN")
FILE = FeastSource(
    id=1,
    kind="FileSource",
    name="stats",
    path="/srv/feast/data/stats.parquet",
    local=True,
    format="ParquetFormat",
    timestamp_field="at",
    columns=(
        ("driver_id", "int64"),
        ("at", "timestamp[ns, tz=UTC]"),
        ("rate", "float"),
        ("trips", "int64"),
    ),
)
RATE = FeastField(name="rate", type="Float32")
VIEW = FeastView(
    name="stats",
    kind="FeatureView",
    entities=("driver",),
    ttl_s=0,
    online=True,
    enabled=True,
    fields=(RATE,),
    source=1,
)


def translated(*views: FeastView, source: FeastSource = FILE, **more: Any) -> Translation:
    parts = {"online": {"type": "sqlite"}, "entities": (DRIVER,), "sources": (source,), **more}
    return translate(Repository(version="0.67.0", views=views, **parts), PROJECT)


def said(found: Translation, *, left_out: bool) -> dict[str, str]:
    return {it.of: it.text for it in found.remarks if it.left_out is left_out}
