"""Resources are loaded from files and folders; all that is wrong is found at once, with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.errors import SpecError
from featurestore.resources import FeatureStore
from featurestore.resources.document import load
from featurestore.resources.location import is_relative, resolve_uri
from featurestore.resources.node import documents

STORE = "kind: FeatureStore\nmetadata: {name: default}\nspec:\n  offline: {uri: data}\n"
PIPELINE = (
    "kind: DataPipeline\nmetadata: {{name: {name}}}\nspec:\n  source: {{uri: raw/*.csv, format: CSV}}\n"
)


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_several_documents_files_and_folders_are_one_whole(tmp_path: Path) -> None:
    folder = tmp_path / "specs"
    folder.mkdir()
    write(folder, "b.yaml", PIPELINE.format(name="b") + "---\n" + PIPELINE.format(name="c"))
    write(folder, "a.yml", PIPELINE.format(name="a"))
    write(folder, ".hidden.yaml", "not: ours")
    write(folder, "notes.txt", "not ours")
    store = write(tmp_path, "store.yaml", "---\n" + STORE + "---\n# the end\n")
    loaded = load([store, folder, folder / "a.yml"])
    assert loaded.problems == ()
    assert [resource.metadata.name for resource in loaded.resources] == ["default", "a", "b", "c"]
    assert [one.where() for one in loaded.declared][2:] == [f"{folder}/b.yaml:1", f"{folder}/b.yaml:6"]
    assert loaded.declared[3].file == folder / "b.yaml"


def test_a_place_is_the_line_of_the_field_or_of_the_nearest_one_around_it(tmp_path: Path) -> None:
    file = write(tmp_path, "a.yaml", STORE + "  tags:\n    stage: test\n")
    (one,) = load([file]).declared
    assert one.where("spec", "tags", "stage") == f"{file}:6: spec.tags.stage"
    assert one.where("spec", "online", "redis") == f"{file}:3: spec.online.redis"


def test_a_missing_api_version_is_the_newest(tmp_path: Path) -> None:
    (resource,) = load([write(tmp_path, "a.yaml", STORE)]).resources
    assert isinstance(resource, FeatureStore)
    assert resource.api_version == "featurestore.dev/v1alpha1"


def test_one_bad_resource_does_not_hide_the_others(tmp_path: Path) -> None:
    bad = PIPELINE.format(name="b").replace("CSV", "TSV")
    file = write(
        tmp_path, "a.yaml", PIPELINE.format(name="a") + "---\n" + bad + "---\n" + PIPELINE.format(name="c")
    )
    loaded = load([file])
    assert [resource.metadata.name for resource in loaded.resources] == ["a", "c"]
    assert len(loaded.problems) == 1


def test_all_problems_of_all_files_come_in_one_error(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", STORE.replace("uri", "url"))
    write(tmp_path, "b.yaml", "kind: Store\n")
    loaded = load([tmp_path, tmp_path / "c.yaml"])
    with pytest.raises(SpecError, match="5 problems in the resources") as caught:
        loaded.check([SpecError("one more")])
    assert [problem.problem for problem in caught.value.problems if isinstance(problem, SpecError)] == [
        "a field is missing",
        "unknown field 'url'",
        "unknown kind",
        "no such file or folder",
        "one more",
    ]
    assert caught.value.exit_code == 2


def test_nothing_wrong_is_no_error(tmp_path: Path) -> None:
    load([write(tmp_path, "a.yaml", STORE)]).check()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.yaml", b"", "there is no resource in this file"),
        ("latin.yaml", "kind: Straße".encode("latin-1"), "the file cannot be read"),
        ("large.yaml", b"#" * (4 * 1024**2 + 1), "the file is too large"),
        ("deep.yaml", b"kind: " + b"[" * 40 + b"]" * 40, "the document is too large"),
        ("loop.yaml", b"kind: FeatureStore\nspec: &a {b: *a}\n", "the document is too large"),
        ("nul.yaml", b"kind: \x00", "not YAML"),
        ("control.yaml", b"kind: 'a\n", "not YAML"),
        ("complex.yaml", b"? [a]\n: b\nkind: FeatureStore\n", "the name of a field must be a string"),
    ],
)
def test_files_that_cannot_be_read_are_problems_and_not_crashes(
    name: str, content: bytes, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    assert load([tmp_path / name]).problems[0].problem == said
    assert str(tmp_path / name) in load([tmp_path / name]).problems[0].where


def test_a_folder_without_yaml_and_a_mistyped_name_are_problems(tmp_path: Path) -> None:
    write(tmp_path, "store.txt", "")
    assert load([tmp_path]).problems[0].problem == "no YAML file in this folder"
    assert load([tmp_path / "stor.txt"]).problems[0].hint == "Did you mean 'store.txt'?"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("010", "010"),
        ("1:30", "1:30"),
        ("2013-01-01", "2013-01-01"),
        ("true", True),
        ("12", 12),
        ("-0.5", -0.5),
        ("1e3", 1000.0),
        ("~", None),
        ("", None),
        ("'12'", "12"),
        ("=", "="),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    problems: list[SpecError] = []
    (document,) = documents("a.yaml", f"a: {text}\n")
    assert document.value(problems) == {"a": value}
    assert type(document.value(problems)["a"]) is type(value)
    assert not problems


@settings(max_examples=examples(200), deadline=None)
@given(text=st.text(alphabet=st.sampled_from("kind: FeatureStore\n-[]{}&*!|>'\"%@`,?#\t ab1"), max_size=60))
def test_whatever_stands_in_a_file_is_no_crash(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(text)
    loaded = load([file])
    assert loaded.problems or loaded.resources


@pytest.mark.parametrize(
    ("text", "resolved"),
    [
        ("data/raw/**/*.csv", "/srv/project/data/raw/**/*.csv"),
        ("../shared", "/srv/shared"),
        (".", "/srv/project"),
        ("/var/data", "/var/data"),
        ("s3://bucket/a", "s3://bucket/a"),
        ("file:///var/data", "file:///var/data"),
    ],
)
def test_relative_paths_begin_at_the_folder_of_the_file(text: str, resolved: str) -> None:
    assert resolve_uri(text, Path("/srv/project")) == resolved


@pytest.mark.parametrize(
    "text",
    [
        "data/*.csv",
        "../shared",
        ".",
        "~/data",
        "file://data/*.csv",
    ],
)
def test_what_another_process_may_find_elsewhere_is_relative(text: str) -> None:
    assert is_relative(text)


@pytest.mark.parametrize(
    "text",
    [
        *("/var/data", "/var/a::b/*.csv", "file:///var/data", "s3://bucket/*.csv"),
    ],
)
def test_what_every_process_finds_at_the_same_place_is_not_relative(text: str) -> None:
    assert not is_relative(text)
