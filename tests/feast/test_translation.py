"""What becomes of what a Feast repository defines: of odd names, types and sources, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from feast_views import DRIVER, FILE, RATE, VIEW, said, translated

from featurestore.cli.import_feast import yaml_text
from featurestore.feast.repository import (
    Described,
    FeastEntity,
    FeastField,
    FeastService,
    FeastSource,
    FeastView,
    Projection,
)
from featurestore.resources.document import load


def spec_of(view: FeastView, source: FeastSource = FILE, **more: Any) -> dict[str, Any]:
    [document] = translated(view, source=source, **more).documents["FeatureView"]
    spec: dict[str, Any] = document["spec"]
    return spec


def test_types_are_those_of_the_files_where_these_hold_more() -> None:
    doubles = replace(FILE, columns=(*FILE.columns[:2], ("rate", "double"), ("trips", "int64")))
    view = replace(VIEW, fields=(RATE, FeastField(name="trips", type="Int32")))
    assert [it["type"] for it in spec_of(view, doubles)["features"]] == ["float64", "int64"]
    assert [it["type"] for it in spec_of(view)["features"]] == ["float32", "int64"]
    assert (
        "float64 and not Float32"
        in said(translated(view, source=doubles), left_out=False)["FeatureView stats:rate"]
    )


def test_a_view_without_a_schema_has_what_its_files_have_beside_keys_and_times() -> None:
    columns = (*FILE.columns, ("made", "timestamp[us]"), ("__index_level_0__", "int64"))
    found = spec_of(replace(VIEW, fields=()), replace(FILE, created="made", columns=columns))
    assert [it["name"] for it in found["features"]] == ["rate", "trips"]
    assert found["createdTimestampField"] == "made"


def test_the_only_column_of_times_is_the_event_time_where_none_is_named() -> None:
    unnamed = replace(FILE, timestamp_field="")
    assert spec_of(VIEW, unnamed)["timestampField"] == "at"
    two = replace(unnamed, columns=(*FILE.columns, ("paid", "timestamp[us]")))
    assert "at, paid" in said(translated(VIEW, source=two), left_out=True)["FeatureView stats"]


def test_several_entities_are_one_with_their_join_keys_by_the_names_that_field_mapping_gives() -> None:
    mapped = replace(
        FILE,
        mapping={"id": "driver_id", "rt": "rate"},
        columns=(("id", "int32"), ("at", "timestamp[us]"), ("rt", "float"), ("sku", "string")),
    )
    product = FeastEntity(name="product", join_key="sku", type="STRING")
    found = translated(
        replace(VIEW, entities=("driver", "product")), source=mapped, entities=(DRIVER, product)
    )
    assert found.documents["FeatureView"][0]["spec"]["entity"] == {
        "name": "driver-product",
        "joinKeys": [{"name": "driver_id", "type": "int32"}, {"name": "sku", "type": "string"}],
    }
    assert found.documents["DataPipeline"][0]["spec"]["transforms"] == [
        {"rename": {"columns": {"id": "driver_id", "rt": "rate"}}}
    ]


@pytest.mark.parametrize(
    ("view", "source", "why"),
    [
        (replace(VIEW, source=None), FILE, "no source"),
        (
            VIEW,
            replace(FILE, kind="BigQuerySource", name="sales"),
            "a BigQuerySource, and pipelines read files: export sales",
        ),
        (VIEW, replace(FILE, format="DeltaFormat"), "DeltaFormat"),
        (replace(VIEW, computed=True, kind="BatchFeatureView"), FILE, "a transformation or an aggregation"),
        (replace(VIEW, on_views=("others",)), FILE, "made of other views (others)"),
        (replace(VIEW, entities=("nobody",)), FILE, "does not define its entity nobody"),
        (
            VIEW,
            replace(FILE, columns=(("driver_id", "double"), *FILE.columns[1:])),
            "join key driver_id is double",
        ),
        (replace(VIEW, fields=(FeastField(name="rate", type="Map"),)), FILE, "no feature of it is left"),
        (
            replace(VIEW, fields=(), source=1),
            replace(FILE, columns=(), unreadable="OSError: gone"),
            "OSError: gone",
        ),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_what_cannot_be_a_view_here_is_left_out_and_the_reason_said(
    view: FeastView, source: FeastSource, why: str
) -> None:
    entities = (replace(DRIVER, type="INT64"),) if source.unreadable else (DRIVER,)
    found = translated(view, source=source, entities=entities)
    assert found.documents["FeatureView"] == found.documents["DataPipeline"] == []
    assert why in said(found, left_out=True)[f"{view.kind} stats"]


def test_names_that_would_be_one_get_a_number_and_the_report_says_which_is_which() -> None:
    found = translated(replace(VIEW, name="a_b"), replace(VIEW, name="a-b"), replace(VIEW, name="Été 2!"))
    assert [it["metadata"]["name"] for it in found.documents["FeatureView"]] == ["a-b", "a-b-2", "t--2"]
    assert said(found, left_out=False) == {
        "FeatureView a-b": "is named a-b-2, as a_b is a-b: calls must say so",
        "FeatureView Été 2!": "is named t--2: calls must say so",
    }


def test_features_of_odd_names_are_renamed_and_keep_their_columns() -> None:
    odd = ("7d", "event_timestamp", "Rate", "x" * 80)
    source = replace(FILE, columns=(*FILE.columns, *((name, "int64") for name in odd)))
    fields = (RATE, *(FeastField(name=name, type="Int64") for name in odd))
    features = spec_of(replace(VIEW, fields=fields), source)["features"]
    assert [(it["name"], it.get("column")) for it in features] == [
        ("rate", None),
        ("f_7d", "7d"),
        ("f_event_timestamp", "event_timestamp"),
        ("Rate_2", "Rate"),
        ("x" * 63, "x" * 80),
    ]


def test_a_service_names_what_is_left_of_its_views_by_their_roles_and_keys() -> None:
    view = replace(
        VIEW, fields=(RATE, FeastField(name="map", type="Map"), FeastField(name="trips", type="Int64"))
    )
    service = FeastService(
        name="Model v1",
        features=(
            Projection(view="stats", features=("rate", "map")),
            Projection(view="stats", alias="other", keys={"driver_id": "other_id"}, version="3"),
            Projection(view="gone"),
        ),
    )
    found = translated(
        view, services=(service, FeastService(name="empty", features=(Projection(view="gone"),)))
    )
    [document] = found.documents["FeatureService"]
    assert document["metadata"]["name"] == "model-v1"
    assert document["spec"]["features"] == [
        "stats:rate",
        {
            "view": "stats",
            "as": "other",
            "joinKeyMap": {"driver_id": "other_id"},
            "features": ["rate", "trips"],
        },
    ]
    told = [it.text for it in found.remarks if it.of == "FeatureService Model v1"]
    assert [line.split(",")[0] for line in told] == [
        "is without stats:map",
        "reads stats as the files define it",
        "is without gone",
        "is named model-v1: calls must say so",
    ]
    assert said(found, left_out=True)["FeatureService empty"] == "no feature of it is left"


def test_a_source_with_what_no_pipeline_takes_takes_its_views_with_it_and_leaves_the_others() -> None:
    wrong = replace(FILE, id=2, name="wrong", path="ftp://host/stats.parquet", local=False)
    found = translated(replace(VIEW, source=2, name="lost"), VIEW, sources=(FILE, wrong))
    assert [it["metadata"]["name"] for it in found.documents["FeatureView"]] == ["stats"]
    assert "a source is a path" in said(found, left_out=True)["FileSource wrong"]
    assert said(found, left_out=True)["FeatureView lost"] == "its source wrong is left out"


def test_sources_in_the_project_are_relative_and_the_others_folders_are_named_once() -> None:
    inside = replace(FILE, path="/srv/project/data/a", is_folder=True)
    near = replace(FILE, id=2, path="/srv/feast/data/more/b.parquet")
    found = translated(
        replace(VIEW, name="a"),
        replace(VIEW, name="b", source=2),
        replace(VIEW, name="c", source=3),
        sources=(inside, near, replace(FILE, id=3)),
    )
    uris = [it["spec"]["source"]["uri"] for it in found.documents["DataPipeline"]]
    assert uris == ["data/a/**/*.parquet", near.path, FILE.path]
    assert found.roots == ("/srv/feast/data",)


def test_the_store_keeps_a_redis_and_no_password() -> None:
    online = {"type": "redis", "connection_string": "cache:6379,password=hunter2"}
    found = translated(VIEW, online=online, projects=(Described(name="p", description="d" * 5000),))
    [store] = found.documents["FeatureStore"]
    assert store["spec"] == {
        "offline": {"uri": "store"},
        "online": {"redis": {"url": "redis://cache:6379/0"}},
    }
    assert "hunter2" not in str(found)
    assert "REDIS_PASSWORD" in said(found, left_out=False)["online store redis"]


def test_what_is_too_long_to_be_said_of_a_view_is_left_out_and_the_view_is_not() -> None:
    found = translated(replace(VIEW, description="d" * 5000, owner="me", tags={"": "x"}))
    [document] = found.documents["FeatureView"]
    assert document["spec"]["owner"] == "me"
    assert not {"description", "tags"} & set(document["spec"])
    texts = [it.text for it in found.remarks if it.of == "FeatureView stats"]
    assert [text.partition(":")[0] for text in texts] == [
        "there is no place for its description",
        "there is no place for its tags",
    ]


def test_texts_that_look_like_other_values_are_read_back_as_they_were(tmp_path: Path) -> None:
    texts = [
        "1e3",
        "010",
        "yes",
        "null",
        "~",
        "- a",
        "a: b",
        "#x",
        "two\nlines",
        " led",
        "@x",
        "0x1F",
        ".5",
        "é",
        "'",
        '"',
    ]
    described = replace(
        VIEW, description="\n".join(texts), tags={f"t{n}": text for n, text in enumerate(texts)}
    )
    found = translated(described, source=replace(FILE, owner="1_000", tags={"1": "2.0"}))
    documents = [it for kind in found.documents.values() for it in kind]
    (tmp_path / "all.yaml").write_text("---\n".join(map(yaml_text, documents)))
    loaded = load([tmp_path])
    loaded.check()
    views = [it for it in loaded.resources if it.kind == "FeatureView"]
    assert dict(views[0].spec.tags) == described.tags
    assert views[0].spec.description == described.description
    assert list(yaml.safe_load_all((tmp_path / "all.yaml").read_text())) == documents
