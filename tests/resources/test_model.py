"""What holds for all models: camelCase outside, bounds and descriptions everywhere, rules on every construction."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from featurestore.aggregates.aggregates import AggregateFunction
from featurestore.resources.feature_view import Aggregate, Feature, FeatureViewSpec
from featurestore.resources.kinds import KINDS
from featurestore.resources.model import Model
from featurestore.resources.outputs import build_digest
from featurestore.resources.quantity import format_bytes, format_duration, parse_bytes, parse_duration
from featurestore.resources.rule import SpecRule
from featurestore.resources.transform import Drop, Lookup, Select, Transform
from featurestore.resources.value import ColumnType

MODELS_OF_KINDS: tuple[type[Model], ...] = tuple(kind.model for kind in KINDS.values())


def models(model: type[Model], seen: set[type[Model]]) -> Iterator[type[Model]]:
    if model not in seen:
        seen.add(model)
        yield model
        for field in model.model_fields.values():
            for part in parts(field.annotation):
                yield from models(part, seen)


def parts(annotation: Any) -> Iterator[type[Model]]:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        yield annotation
    for argument in get_args(annotation):
        yield from parts(argument)


SEEN: set[type[Model]] = set()
MODELS = [model for kind in MODELS_OF_KINDS for model in models(kind, SEEN)]
every_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)


def test_all_models_are_looked_at() -> None:
    assert {"Transform", "Lookup", "Aggregate", "CsvOptions", "Metadata"} <= {
        model.__name__ for model in MODELS
    }


@every_model
def test_every_field_is_described_and_bounded(model: type[Model]) -> None:
    said = model.model_json_schema(by_alias=True)
    said = said["$defs"].get(model.__name__, said) if "$ref" in said else said
    for name, node in said.get("properties", {}).items():
        assert node.get("description"), f"{model.__name__}.{name}"
        whole_or_text = node.get("x-kubernetes-int-or-string", False)
        for member in [node, *([] if whole_or_text else node.get("anyOf", ()))]:
            assert_bounded(member, f"{model.__name__}.{name}")


def assert_bounded(node: dict[str, Any], where: str) -> None:
    if node.get("type") == "string" and not {"enum", "const"} & node.keys():
        assert "maxLength" in node, where
    if node.get("type") == "array":
        assert "maxItems" in node, where
        assert_bounded(node["items"], where)
    if node.get("type") == "object" and ("additionalProperties" in node or "patternProperties" in node):
        assert "maxProperties" in node, where


@every_model
def test_values_never_change_and_unknown_fields_are_refused(model: type[Model]) -> None:
    assert model.model_config["frozen"]
    assert model.model_config["extra"] == "forbid"


@every_model
def test_rules_have_a_message_of_one_line(model: type[Model]) -> None:
    for rule in model.rules:
        assert isinstance(rule, SpecRule)
        assert rule.message[0].islower() or rule.message.startswith(("Count", "ApproxQuantile"))
        assert "\n" not in rule.message + rule.cel


def test_yaml_names_are_camel_case_and_python_names_snake_case() -> None:
    step = Transform.model_validate({"fillNull": {"columns": {"a": 0}}})
    assert step.fill_null is not None
    assert step.model_dump(by_alias=True, exclude_none=True) == {"fillNull": {"columns": {"a": 0}}}


def test_a_step_is_the_one_field_that_is_set() -> None:
    assert Transform(drop=Drop(columns=("a",))).step == Drop(columns=("a",))
    with pytest.raises(ValidationError, match="exactly one of rename, select"):
        Transform(drop=Drop(columns=("a",)), select=Select(columns=("b",)))


def test_all_broken_rules_are_said_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        Aggregate(
            function=AggregateFunction.MEAN,
            column="a",
            windows=(timedelta(hours=1),),
            hop=timedelta(hours=2),
            quantile=0.5,
        )
    (error,) = caught.value.errors()
    assert [field for field, _ in error["ctx"]["broken"]] == ["quantile", "hop"]


def test_values_of_fills_keep_their_types() -> None:
    step = Transform.model_validate({"fillNull": {"columns": {"a": 1, "b": 1.0, "c": True, "d": "1"}}})
    assert step.fill_null is not None
    assert [type(value) for value in step.fill_null.columns.values()] == [int, float, bool, str]


def test_lookup_keys_match_columns_here_with_columns_there() -> None:
    lookup = Lookup(pipeline="planes", keys={"tailnum": "tail"}, columns={"year": "built"})
    assert lookup.model_dump(by_alias=True)["keys"] == {"tailnum": "tail"}


@pytest.mark.parametrize("function", AggregateFunction)
@pytest.mark.parametrize("kind", ColumnType)
def test_aggregates_give_the_types_that_are_right_for_them(
    function: AggregateFunction, kind: ColumnType
) -> None:
    quantile = 0.5 if function is AggregateFunction.APPROX_QUANTILE else None
    aggregate = Aggregate(function=function, column="a", windows=(timedelta(days=1),), quantile=quantile)
    right = {
        AggregateFunction.COUNT: {"int64"},
        AggregateFunction.APPROX_DISTINCT: {"int64"},
        AggregateFunction.SUM: {"int64", "float64"},
        AggregateFunction.MEAN: {"float64"},
        AggregateFunction.VARIANCE: {"float64"},
        AggregateFunction.STDDEV: {"float64"},
        AggregateFunction.APPROX_QUANTILE: {"float64"},
    }.get(function, {one.value for one in ColumnType if "list" not in one.value})
    if kind.value in right:
        assert Feature(name="f", type=kind, aggregate=aggregate).type is kind
    else:
        with pytest.raises(ValidationError, match="Count and ApproxDistinct int64"):
            Feature(name="f", type=kind, aggregate=aggregate)


def test_windows_that_are_equal_are_one_however_they_are_written() -> None:
    with pytest.raises(ValidationError, match="1d is repeated"):
        Aggregate.model_validate({"function": "Count", "column": "a", "windows": ["1d", "24h"]})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0),
        ("10s", 10),
        ("5m", 300),
        ("1h30m", 5400),
        ("30d", 2_592_000),
        ("1w", 604_800),
        ("250ms", 0.25),
    ],
)
def test_durations_are_read_as_people_write_them_and_written_back(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)
    assert parse_duration(format_duration(parse_duration(text))) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "10", "s", "10 s", "-1s", "1.5h", "1y", "999999999w", "1d\n", None, [], "1" * 99]
)
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="wanted a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"), [("1", 1), ("500M", 500_000_000), ("2Gi", 2**31), ("1k", 1000), (7, 7)]
)
def test_sizes_are_read_as_kubernetes_writes_them_and_written_back(text: object, size: int) -> None:
    assert parse_bytes(text) == size
    assert parse_bytes(format_bytes(size)) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5Gi", "2GB", "1 Gi", 0, -5, True, "1Gi\n", None])
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="wanted a size"):
        parse_bytes(text)


@pytest.mark.new_process
def test_importing_the_models_loads_no_engine_and_no_sql_parser() -> None:
    engines = ("polars", "pyarrow", "duckdb", "deltalake", "pandas", "numpy", "sqlglot", "fsspec")
    modules = "featurestore.resources.document, featurestore.resources.reference, featurestore.resources.crd"
    code = f"import sys, featurestore.expressions.check, {modules}; print([e for e in {engines} if e in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_feature_is_the_column_of_its_name_unless_it_says_otherwise() -> None:
    short = Feature.model_validate({"name": "delay", "type": "int64"})
    assert short == Feature.model_validate({"name": "delay", "type": "int64", "column": "delay"})
    assert Feature.model_validate({"name": "a", "type": "int64", "column": None}).column == "a"
    computed = Feature.model_validate({"name": "late", "type": "bool", "expression": "delay > 15"})
    assert computed.column is None
    assert Feature.model_validate({"name": "a", "type": "int64", "column": "b"}).column == "b"


def test_a_feature_that_leaves_out_its_column_needs_no_other_build() -> None:
    spec = {
        "entity": {"name": "e", "joinKeys": [{"name": "k", "type": "string"}]},
        "source": {"pipeline": "p"},
        "timestampField": "t",
    }
    short = {**spec, "features": [{"name": "v", "type": "int64"}]}
    long = {**spec, "features": [{"name": "v", "type": "int64", "column": "v"}]}
    digests = {build_digest(FeatureViewSpec.model_validate(it), "uid") for it in (short, long)}
    assert len(digests) == 1


@pytest.mark.parametrize("kind", ["DataPipeline", "FeatureView"])
def test_all_expressions_of_a_resource_together_are_bounded(kind: str) -> None:
    def given(expressions: int) -> dict[str, Any]:
        text = "a" * 4000
        names = [f"c{n}" for n in range(expressions)]
        spec: dict[str, Any] = {
            "source": {"uri": "raw/*.csv", "format": "CSV"},
            "transforms": [{"derive": {"columns": dict.fromkeys(names, text)}}],
        }
        if kind == "FeatureView":
            spec = {
                "entity": {"name": "e", "joinKeys": [{"name": "k", "type": "string"}]},
                "source": {"pipeline": "p"},
                "timestampField": "t",
                "features": [{"name": name, "type": "float64", "expression": text} for name in names],
            }
        return {"kind": kind, "metadata": {"name": "x"}, "spec": spec}

    KINDS[kind].model.model_validate(given(25))
    with pytest.raises(ValidationError, match="must not have more than 100,000 characters"):
        KINDS[kind].model.model_validate(given(26))
