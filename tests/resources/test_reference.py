"""References, columns and callables: all of it is there, or the problem lists what is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from featurestore.errors import SpecError
from featurestore.resources import FeatureView, Resource
from featurestore.resources.callable import check_callable
from featurestore.resources.column_types import may_become
from featurestore.resources.columns import Shape
from featurestore.resources.document import load
from featurestore.resources.reference import KnownResources, check_references
from featurestore.resources.transform import Transform
from featurestore.resources.value import ColumnType

PIPELINE = "kind: DataPipeline\nmetadata: {name: flights}\nspec:\n  source: {uri: raw/*.csv, format: CSV}\n"
VIEW = """kind: FeatureView
metadata: {name: delays}
spec:
  entity: {name: aircraft, joinKeys: [{name: tailnum, type: string}]}
  source: {pipeline: flights}
  timestampField: landed
  features: [{name: delay, type: float64, column: delay}]
"""


def accepted(text: str, folder: Path) -> tuple[Resource, ...]:
    file = folder / "accepted.yaml"
    file.write_text(text)
    return load([file]).resources


def problems(text: str, folder: Path, known: KnownResources) -> list[str]:
    file = folder / "spec.yaml"
    file.write_text(text)
    loaded = load([file])
    assert not loaded.problems
    return [str(problem).replace(f"{folder}/", "") for problem in check_references(loaded.declared, known)]


def test_a_view_may_name_a_pipeline_that_was_accepted_before(tmp_path: Path) -> None:
    assert problems(VIEW, tmp_path, KnownResources(accepted(PIPELINE, tmp_path), {})) == []


def test_an_absent_pipeline_lists_those_there_are(tmp_path: Path) -> None:
    known = KnownResources(accepted(PIPELINE.replace("flights", "weather"), tmp_path), {})
    assert problems(VIEW, tmp_path, known) == [
        "unknown DataPipeline 'flights': in spec.yaml:5: spec.source.pipeline. There is: 'weather'"
    ]


def test_columns_of_the_dataset_are_compared_while_the_pipeline_stays(tmp_path: Path) -> None:
    known = KnownResources(
        accepted(PIPELINE, tmp_path), {"flights": dict.fromkeys(["tailnum", "landed", "dep_delay"], "")}
    )
    assert problems(VIEW, tmp_path, known) == [
        "unknown column 'delay': in spec.yaml:7: spec.features[0].column. Did you mean 'dep_delay'?"
    ]


def test_columns_of_the_dataset_are_not_compared_when_the_pipeline_changes(tmp_path: Path) -> None:
    known = KnownResources(accepted(PIPELINE, tmp_path), {"flights": {"tailnum": "string"}})
    steps = "  transforms: [{derive: {columns: {delay: a - b, landed: c}}}]\n"
    assert problems(PIPELINE + steps + "---\n" + VIEW, tmp_path, known) == []


def test_columns_that_came_later_are_known_beside_those_declared(tmp_path: Path) -> None:
    columns = "  columns: [{name: tailnum, type: string}, {name: landed, type: timestamp}]\n"
    known = KnownResources((), {"flights": {"delay": "float64"}})
    assert problems(PIPELINE + columns + "---\n" + VIEW, tmp_path, known) == []


def test_pipelines_do_not_look_each_other_up(tmp_path: Path) -> None:
    def looking_up(name: str, other: str) -> str:
        lookup = f"{{pipeline: {other}, keys: {{tailnum: tailnum}}, columns: {{seats: seats_of_{other}}}}}"
        return PIPELINE.replace("flights", name) + f"  transforms: [{{lookup: {lookup}}}]\n"

    [first, second] = problems(
        looking_up("a", "b") + "---\n" + looking_up("b", "a"), tmp_path, KnownResources((), {})
    )
    assert "pipelines look up each other in a circle" in first
    assert "got a → b → a" in first
    assert "got b → a → b" in second


def test_callables_are_not_looked_for_where_they_cannot_be_seen(tmp_path: Path) -> None:
    steps = "  transforms: [{python: {callable: 'nowhere:clean'}}]\n"
    assert problems(PIPELINE + steps, tmp_path, KnownResources((), {}, folders=None)) == []
    assert (
        "cannot be found"
        in problems(PIPELINE + steps, tmp_path, KnownResources((), {}, folders=[tmp_path]))[0]
    )


@pytest.mark.parametrize(
    ("step", "after"),
    [
        ({"rename": {"columns": {"a": "c"}}}, {"b", "c"}),
        ({"select": {"columns": ["b"]}}, {"b"}),
        ({"drop": {"columns": ["b"]}}, {"a"}),
        ({"cast": {"columns": {"a": "int64"}}}, {"a", "b"}),
        ({"derive": {"columns": {"c": "a + b"}}}, {"a", "b", "c"}),
        ({"filter": {"where": "a"}}, {"a", "b"}),
        ({"fillNull": {"columns": {"a": 0}}}, {"a", "b"}),
        ({"deduplicate": {"keys": ["a"]}}, {"a", "b"}),
        ({"sort": {"by": [{"column": "a"}]}}, {"a", "b"}),
        ({"lookup": {"pipeline": "p", "keys": {"a": "x"}, "columns": {"y": "c"}}}, {"a", "b", "c"}),
        ({"sql": {"query": "SELECT 1 AS c FROM self"}}, None),
        ({"python": {"callable": "m:f"}}, None),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_columns_are_followed_through_steps(step: dict[str, object], after: set[str] | None) -> None:
    assert (
        Shape(made=frozenset("ab"), rest=frozenset()).after(Transform.model_validate(step).step).names
        == after
    )


def test_a_select_makes_columns_known_again() -> None:
    step = Transform.model_validate({"select": {"columns": ["a"]}}).step
    assert Shape().after(step).names == {"a"}
    assert Shape(opaque=True).after(step).names == {"a"}


def test_views_and_pipelines_that_are_right_have_no_problems(tmp_path: Path) -> None:
    text = PIPELINE + "---\n" + VIEW
    assert problems(text, tmp_path, KnownResources((), {}, [tmp_path])) == []
    assert isinstance(load([tmp_path / "spec.yaml"]).resources[1], FeatureView)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "cleaning.py").write_text(
        "raise RuntimeError('imported')\nfrom os import path as where\nclean = tidy = len\n"
        "def wash(frame):\n    return frame\nasync def dry(frame): ...\nclass Iron: ...\n"
    )
    (tmp_path / "package" / "inner").mkdir(parents=True)
    (tmp_path / "package" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (tmp_path / "package" / "inner" / "__init__.py").write_text("")
    (tmp_path / "package" / "inner" / "step.py").write_text("def run(frame): ...\n")
    (tmp_path / "starry.py").write_text("from os.path import *\n")
    (tmp_path / "lazy.py").write_text("def __getattr__(name): ...\n")
    (tmp_path / "broken.py").write_text("def run(:\n")
    return tmp_path


@pytest.mark.parametrize(
    "text",
    """cleaning:wash cleaning:dry cleaning:Iron cleaning:clean cleaning:tidy cleaning:where package.inner.step:run
    starry:join lazy:anything broken:run json:loads math:floor sys:exit""".split(),  # noqa: SIM905
)
def test_a_callable_is_found_without_being_imported(text: str, project: Path) -> None:
    check_callable(text, [project], where="spec")
    assert not {"cleaning", "package", "starry", "lazy"} & sys.modules.keys()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "cleaning:wsh",
            "the module 'cleaning' has no 'wsh': in spec, got cleaning:wsh. Did you mean 'wash'?",
        ),
        ("cleanin:wash", "Did you mean 'cleaning'?"),
        ("package.outer:run", "the module 'package.outer' cannot be found"),
        ("package.inner:run", "the module 'package.inner' has no 'run'"),
        ("cleaning.more:run", "the module 'cleaning.more' cannot be found"),
    ],
)
def test_a_callable_that_is_not_there_lists_what_is(text: str, said: str, project: Path) -> None:
    with pytest.raises(SpecError) as caught:
        check_callable(text, [project], where="spec")
    assert said in str(caught.value)


STORED = {"tailnum": "string", "landed": "timestamp", "delay": "float64", "note": "string", "day": "date"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("filter: x", "filter: note > 5"), "types do not fit: in spec.yaml:8: spec.filter, wanted"),
        (
            ("column: delay}", "expression: 'note * 2'}"),
            "types do not fit: in spec.yaml:7: spec.features[0].expression, wanted",
        ),
        (
            ("type: float64, column: delay", "type: date, column: delay"),
            "the values of column 'delay' do not fit: in spec.yaml:7: spec.features[0].type, wanted date, got float64",
        ),
        (
            ("timestampField: landed", "timestampField: delay"),
            "the values of column 'delay' do not fit: in spec.yaml:6: spec.timestampField, wanted timestamp, got float64. "
            "A number has no unit of time",
        ),
        (
            ("name: tailnum, type: string", "name: landed, type: string"),
            "a timestamp cannot be a string key: in spec.yaml:4: spec.entity.joinKeys[0].type",
        ),
        (
            ("name: tailnum, type: string", "name: day, type: int64"),
            "the values of column 'day' do not fit: in spec.yaml:4: spec.entity.joinKeys[0].type, wanted int64, got date",
        ),
        (
            ("column: delay}", "aggregate: {function: Mean, column: day, windows: [1d]}}"),
            "the values of column 'day' do not fit: in spec.yaml:7: spec.features[0].aggregate.column, "
            "wanted float64, got date",
        ),
    ],
    ids=["filter", "expression", "type of a feature", "time", "time as a key", "key", "aggregate"],
)
def test_a_view_is_checked_against_the_types_that_its_dataset_has(
    tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    known = KnownResources(accepted(PIPELINE, tmp_path), {"flights": STORED})
    right = VIEW + "  filter: x\n".replace("x", "delay > 0")
    assert problems(right, tmp_path, known) == []
    [problem] = problems(
        (VIEW + "  filter: x\n").replace(*change).replace("filter: x", "filter: delay > 0"), tmp_path, known
    )
    assert problem.startswith(said)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("rename: {columns: {dely: late}}", "unknown column 'dely'"),
        ("filter: {where: dely > 0}", "unknown column 'dely'"),
        ("filter: {where: note > 5}", "types do not fit"),
        ("derive: {columns: {x: note * 2}}", "types do not fit"),
    ],
)
def test_steps_are_checked_against_the_columns_that_files_were_seen_to_have(
    tmp_path: Path, step: str, said: str
) -> None:
    known = KnownResources(sources={"flights": STORED})
    [problem] = problems(PIPELINE + f"  transforms: [{{{step}}}]\n", tmp_path, known)
    assert problem.startswith(said)
    assert "spec.yaml:5: spec.transforms[0]" in problem
    assert problems(PIPELINE + f"  transforms: [{{{step}}}]\n", tmp_path, KnownResources()) == []


def test_a_column_whose_name_no_step_could_use_may_be_dropped(tmp_path: Path) -> None:
    known = KnownResources(sources={"flights": STORED})
    assert problems(PIPELINE + "  transforms: [{drop: {columns: [__deleted]}}]\n", tmp_path, known) == []


def test_whether_a_type_may_become_another_is_what_casts_say() -> None:
    import polars as pl

    from featurestore.expressions.run.cast import fit, polars_type

    for source in ColumnType:
        for wanted in ColumnType:
            found = fit(pl.col("a"), polars_type(source), wanted.value)
            assert may_become(source.value, wanted.value) == (found is not None), (source, wanted)


def test_a_view_may_not_take_the_name_of_a_service_that_was_accepted_before(tmp_path: Path) -> None:
    service = "kind: FeatureService\nmetadata: {name: delays}\nspec: {features: ['others:x']}\n"
    other = VIEW.replace("name: delays", "name: others").replace("name: delay,", "name: x,")
    before = accepted(f"{PIPELINE}---\n{other}---\n{service}", tmp_path)
    (problem,) = problems(VIEW, tmp_path, KnownResources(before, {}))
    assert problem.startswith(
        "a service has the name of this view: in spec.yaml:2: metadata.name, got 'delays'"
    )
