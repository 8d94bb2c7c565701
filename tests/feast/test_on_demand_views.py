"""What becomes of the functions of Feast's on-demand views: expressions, functions, or a reason."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest
from feast_views import RATE, VIEW, said, translated

from featurestore.feast.repository import FeastField, FeastName, FeastOnDemandView, Projection

PANDAS = FeastName(name="pd", definition="import pandas as pd")
STATS = replace(
    VIEW, fields=(RATE, FeastField(name="trips", type="Int64"), FeastField(name="map", type="Map"))
)
VIEW_ON_DEMAND = FeastOnDemandView(
    name="made",
    mode="pandas",
    request=(FeastField(name="extra", type="Int64"), FeastField(name="word", type="String")),
    inputs=(Projection(view="stats", features=("rate", "trips", "map")),),
    fields=(FeastField(name="x", type="Float64"),),
    source="",
    names=(PANDAS,),
)


def pandas(value: str) -> FeastOnDemandView:
    lines = f'    df = pd.DataFrame()\n    df["x"] = {value}\n    return df\n'
    return replace(VIEW_ON_DEMAND, source=f"@decorated\ndef made(inputs: pd.DataFrame):\n{lines}")


def python(body: str, *, singleton: bool = False) -> FeastOnDemandView:
    source = f"def made(inputs):\n    {body}\n"
    return replace(VIEW_ON_DEMAND, mode="python", singleton=singleton, source=source)


def feature_of(view: FeastOnDemandView) -> dict[str, Any]:
    translation = translated(STATS, on_demand=(view,))
    _, document = translation.documents["FeatureView"]
    [feature] = document["spec"]["features"]
    return dict(feature)


@pytest.mark.parametrize(
    ("view", "expression"),
    [
        (pandas('inputs["trips"] + inputs["extra"]'), "trips + extra"),
        (pandas('2.5 * (inputs["stats__trips"] - 1) / 4'), "(2.5 * (trips - 1)) / 4"),
        (pandas('-inputs["trips"] * -3'), "(-trips) * (-3)"),
        (python('return {"x": [t / 2 for t in inputs["trips"]]}'), "trips / 2"),
        (
            python('return {"x": [a - b for a, b in zip(inputs["trips"], inputs["extra"])]}'),
            "trips - extra",
        ),
        (
            python('out = {}\n    t = inputs["trips"]\n    out["x"] = t * t\n    return out', singleton=True),
            "trips * trips",
        ),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_arithmetic_of_columns_becomes_an_expression(view: FeastOnDemandView, expression: str) -> None:
    assert feature_of(view) == {"name": "x", "type": "float64", "expression": expression}


@pytest.mark.parametrize(
    "view",
    [
        pandas('inputs["trips"] / inputs["extra"]'),
        pandas('inputs["trips"] / 0'),
        pandas('inputs["trips"] > 1'),
        pandas('inputs["trips"] // 2'),
        pandas('inputs["trips"].rolling(2).mean()'),
        pandas('inputs["word"] + inputs["word"]'),
        pandas("1"),
        pandas("True + inputs['trips']"),
        python('return {"x": inputs["trips"] + inputs["extra"]}'),
        python('return {"x": [t for t in inputs["trips"] if t]}'),
        python('return {"x": [inputs["trips"] for t in inputs["extra"]]}'),
        python('inputs["trips"] = inputs["extra"]\n    return {"x": inputs["trips"]}', singleton=True),
    ],
    ids=str,
)
def test_what_means_something_else_in_an_expression_stays_python_or_is_left_out(
    view: FeastOnDemandView,
) -> None:
    translation = translated(STATS, on_demand=(view,))
    for document in translation.documents["FeatureView"][1:]:
        assert document["spec"]["features"][0]["python"] == {"callable": "feast_functions:made__x"}


@pytest.mark.parametrize(
    ("view", "table", "values"),
    [
        (
            pandas('inputs["trips"] / inputs["extra"]'),
            {"trips": [3, None], "extra": [2, 2]},
            [1.5, None],
        ),
        (
            python('return {"x": [t if t else SIZE for t in inputs["trips"]]}'),
            {"trips": [3, 0]},
            [3, 7],
        ),
        (
            python('return {"x": sqrt(inputs["stats__rate"])}', singleton=True),
            {"rate": [4.0, 9.0]},
            [2.0, 3.0],
        ),
    ],
    ids=["pandas", "lists", "rows"],
)
def test_a_function_that_stays_python_gives_what_it_gave(
    view: FeastOnDemandView, table: dict[str, Any], values: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = (
        PANDAS,
        FeastName(name="SIZE", definition="SIZE = 7"),
        FeastName(name="sqrt", definition="from math import sqrt"),
    )
    module = ModuleType("feast_functions")
    monkeypatch.setitem(sys.modules, "feast_functions", module)
    exec(translated(STATS, on_demand=(replace(view, names=names),)).module, vars(module))
    assert module.made__x(pa.table(table)).to_pylist() == values


@pytest.mark.parametrize(
    ("view", "why"),
    [
        (replace(pandas("nowhere(inputs)"), inputs=()), "uses nowhere, which its own source does not have"),
        (pandas('inputs["map"]'), "uses map, which is left out"),
        (pandas("inputs.sum(axis=1)"), "uses map, which is left out"),
        (replace(VIEW_ON_DEMAND, mode="substrait"), "its function is of mode substrait"),
        (replace(VIEW_ON_DEMAND, source="made = lambda inputs: inputs"), "not that of one function"),
        (replace(VIEW_ON_DEMAND, aggregates=True), "aggregates the rows of a request"),
        (replace(pandas("1"), inputs=(Projection(view="gone"),)), "computed from gone, which is left out"),
        (
            replace(pandas('inputs["trips"]'), request=(FeastField(name="trips", type="Int64"),)),
            "two of its inputs are named trips",
        ),
        (
            replace(pandas('inputs["trips"]'), fields=(FeastField(name="y", type="Int64"),)),
            "its function does not give y",
        ),
        (
            replace(pandas('inputs["trips"]'), fields=(FeastField(name="x", type="String"),)),
            "gives numbers for x, which is declared as String",
        ),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_a_view_that_cannot_be_one_here_is_left_out_and_the_reason_said(
    view: FeastOnDemandView, why: str
) -> None:
    translation = translated(STATS, on_demand=(view,))
    assert len(translation.documents["FeatureView"]) == 1
    assert translation.module == ""
    assert why in said(translation, left_out=True)["OnDemandFeatureView made"]


def test_types_hold_what_the_function_gives_and_the_report_says_so() -> None:
    view = replace(pandas('inputs["rate"] * 2'), fields=(FeastField(name="x", type="Float32"),))
    assert feature_of(view)["type"] == "float64"
    remarks = [it.text for it in translated(STATS, on_demand=(view,)).remarks if it.of.endswith("made:x")]
    assert [text.partition(",")[0] for text in remarks] == [
        "is computed with doubles",
        "is float64 and not Float32",
    ]


def test_only_inputs_that_are_used_are_read() -> None:
    translation = translated(STATS, on_demand=(pandas('inputs["trips"] + inputs["extra"]'),))
    assert translation.documents["FeatureView"][1]["spec"]["onDemand"] == {
        "request": [{"name": "extra", "type": "int64"}, {"name": "word", "type": "string"}],
        "inputs": ["stats:trips"],
    }
