"""Which versions of training sets there are: when another is made, of which labels, how long it is kept, what is told of it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from laptop import Laptop
from training import NOON, begin, rows, training_set

from featurestore.cli.__main__ import main
from featurestore.client.training_data import TrainingData
from featurestore.errors import SpecError
from featurestore.training.training_versions import complete_numbers, version_numbers
from featurestore_transforms.training import make_version as making
from featurestore_transforms.training.pin import delta_labels

DAY = timedelta(days=1)
TIMES = {"timestampField": "ts", "columns": ["w"]}
OF_TABLE = {"uri": "table", "format": "Delta", "timestampField": "ts", "columns": ["w", "day"]}
OF_FILE = {**TIMES, "uri": "labels.parquet"}
SCHEMA: dict[str, Any] = {"k": pl.String, "ts": pl.Datetime("us", "UTC"), "w": pl.Float64, "day": pl.String}


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Laptop:
    """A store whose view is built."""
    laptop = begin(tmp_path_factory.mktemp("versions"), rows(60, entities=3))
    laptop.run()
    return laptop


@pytest.fixture(autouse=True)
def clock(laptop: Laptop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions are made by the laptop's clock."""
    monkeypatch.setattr(making, "current_us", laptop.clock)


def named(name: str, **spec: Any) -> dict[str, Any]:
    return {**training_set(**spec), "metadata": {"name": name}}


def made(laptop: Laptop, name: str, **spec: Any) -> TrainingData:
    laptop.apply(named(name, **spec))
    laptop.run()
    return newest(laptop, name)


def newest(laptop: Laptop, name: str) -> TrainingData:
    return laptop.store(laptop.now).training_set(name)


def labels(*weights: float) -> pl.DataFrame:
    found = [{"k": f"e{n % 3}", "ts": NOON + DAY, "w": w, "day": "ab"[n % 2]} for n, w in enumerate(weights)]
    return pl.DataFrame(found, schema=SCHEMA)


def write_table(laptop: Laptop, frame: pl.DataFrame, name: str = "table", **how: Any) -> None:
    write_deltalake(str(laptop.folder / name), frame.to_arrow(), partition_by=["day", "k"], **how)


def test_labels_of_a_delta_table_are_its_rows_with_the_columns_that_it_is_partitioned_by(
    laptop: Laptop,
) -> None:
    frame = labels(0.1, 0.2, 0.3, 0.4)
    write_table(laptop, frame, "parted")
    data = made(laptop, "of-table", labels={**OF_TABLE, "uri": "parted"})
    assert data.to_polars().select(frame.columns).sort("w").equals(frame)
    wanted = laptop.store(laptop.now).get_features(["view:v", "view:n_1d"], frame, timestamp_column="ts")
    features = ["w", "v", "n_1d"]
    assert data.to_polars().select(features).sort("w").equals(wanted.to_polars().select(features).sort("w"))


def test_a_delta_table_with_deleted_rows_that_its_files_still_have_is_refused(laptop: Laptop) -> None:
    write_table(laptop, labels(0.1), "vectors")
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7}
    features = {"readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"]}
    commit = laptop.folder / "vectors" / "_delta_log" / f"{1:020}.json"
    commit.write_text(json.dumps({"protocol": {**protocol, **features}}))
    with pytest.raises(SpecError, match="deletionVectors"):
        delta_labels("vectors", str(laptop.folder), None)


def test_a_table_is_looked_at_once_in_a_while_and_a_version_is_made_if_it_has_other_rows(
    laptop: Laptop,
) -> None:
    write_table(laptop, labels(0.1, 0.2))
    spec = {"labels": OF_TABLE, "refresh": {"every": "1d"}}
    assert made(laptop, "daily", **spec).manifest.rows == 2
    write_table(laptop, labels(0.3), mode="append")
    laptop.run()
    assert complete_numbers(laptop.storage, "daily") == [1]
    for versions in ([1, 2], [1, 2]):
        laptop.clock.now_us += DAY // timedelta(microseconds=1)
        laptop.run()
        assert complete_numbers(laptop.storage, "daily") == versions
    assert newest(laptop, "daily").manifest.rows == 3
    assert newest(laptop, "daily").manifest.pins.labels.version == 1


def test_a_version_that_was_begun_of_a_table_that_is_another_now_is_followed_by_one_of_that(
    laptop: Laptop,
) -> None:
    write_table(laptop, labels(0.1), "replaced")
    laptop.apply(named("replaced", labels={**OF_TABLE, "uri": "replaced"}))
    with laptop.killed_at("after-version-training"):
        laptop.run()
    for file in sorted((laptop.folder / "replaced").rglob("*.*")):
        file.unlink()
    write_table(laptop, labels(0.7), "replaced")
    laptop.run()
    data = newest(laptop, "replaced")
    assert (data.number, data.to_polars()["w"].to_list()) == (2, [0.7])
    assert data.manifest.pins.labels.uid == str(DeltaTable(str(laptop.folder / "replaced")).metadata().id)


def test_as_many_versions_are_kept_as_wanted_also_after_a_kill_and_when_fewer_are_wanted(
    laptop: Laptop,
) -> None:
    def folders() -> set[str]:
        return {it.name for it in (laptop.folder / "root/trainingsets/few").iterdir()} - {
            "versions",
            "results",
        }

    labels(0.1, 0.6, 0.9).write_parquet(laptop.folder / "labels.parquet")
    for number, limit in enumerate((0.05, 0.5, 0.8)):
        spec = {"labels": {**OF_FILE, "filter": f"w > {limit}"}, "retention": {"versions": 2}}
        laptop.apply(named("few", **spec))
        with laptop.killed_at("after-result-training" if number == 2 else "never"):
            laptop.run()
    assert complete_numbers(laptop.storage, "few") == [1, 2, 3]
    laptop.run()
    store = laptop.store(laptop.now)
    assert complete_numbers(laptop.storage, "few") == version_numbers(laptop.storage, "few") == [2, 3]
    assert folders() == {store.training_set("few", number).digest for number in (2, 3)}
    made(laptop, "few", **{**spec, "retention": {"versions": 1}})
    assert complete_numbers(laptop.storage, "few") == version_numbers(laptop.storage, "few") == [3]
    assert folders() == {newest(laptop, "few").digest}


@pytest.mark.parametrize(
    ("minutes", "rows_of"),
    [
        ([0] * 10, {"train": 10, "validation": 0, "test": 0}),
        ([0], {"train": 1, "validation": 0, "test": 0}),
        ([0] * 15 + [1] * 3 + [2] * 2, {"train": 15, "validation": 3, "test": 2}),
        (list(range(10)), {"train": 8, "validation": 1, "test": 1}),
    ],
)
def test_rows_of_one_time_are_in_the_part_that_is_nearest_to_the_shares(
    laptop: Laptop, minutes: list[int], rows_of: dict[str, int]
) -> None:
    frame = labels(*(0.1 * n for n in range(len(minutes))))
    times = [NOON + timedelta(minutes=it) for it in minutes]
    frame.with_columns(pl.Series("ts", times, SCHEMA["ts"])).write_parquet(laptop.folder / "tied.parquet")
    shares = {"train": 0.8, "validation": 0.1, "test": 0.1}
    name = f"tied-{len(set(minutes))}-{len(minutes)}"
    data = made(
        laptop, name, labels={**OF_FILE, "uri": "tied.parquet"}, split={"by": "Time", "parts": shares}
    )
    assert {part: it.rows for part, it in data.parts.items()} == rows_of


def test_labels_of_which_none_counts_make_a_version_without_rows_that_has_its_columns(laptop: Laptop) -> None:
    labels(0.1, 0.2).write_parquet(laptop.folder / "labels.parquet")
    shares = {"train": 0.9999999, "test": 1e-7}
    split = {"by": "Hash", "keys": ["k"], "parts": shares}
    full = made(laptop, "none", labels=OF_FILE, split=split)
    assert full.parts["train"].rows == 2
    data = made(laptop, "none", labels={**OF_FILE, "filter": "w > 1"}, split=split)
    assert (data.number, data.manifest.rows, data.manifest.rows_left_out) == (2, 0, 0)
    assert data.to_arrow("test").schema == full.to_arrow("train").schema


def test_labels_that_name_their_time_too_have_a_time(laptop: Laptop) -> None:
    labels = {"pipeline": "p", "timestampField": "ts", "columns": ["w", "ts"]}
    roles = {it.name: it.role for it in made(laptop, "timed", labels=labels).manifest.columns}
    assert (roles["ts"], roles["w"]) == ("Time", "Label")


def test_diff_and_describe_tell_what_is_in_versions_and_what_is_another(
    laptop: Laptop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["featurestore", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        return capsys.readouterr().out

    monkeypatch.chdir(laptop.folder)
    monkeypatch.setenv("COLUMNS", "160")
    balance = {"uri": "classes.parquet", "timestampField": "ts", "columns": ["late"]}
    frame = labels(0.1, 0.2, 0.3).with_columns(late=pl.col("w") > 0.15)
    frame.write_parquet(laptop.folder / "classes.parquet")
    one = made(laptop, "told", labels=balance)
    other = made(laptop, "told", labels={**balance, "filter": "late"})
    changes = json.loads(told("diff", "told", "-o", "json"))
    found = {(it["about"], it["what"]): (it["old"], it["new"]) for it in changes}
    assert found["Rows", "all parts"] == (3, 2)
    assert found["Statistics", "all: values of late"] == ({"false": 1, "true": 2}, {"true": 2})
    assert ("Columns", "late") not in found
    page = told("diff", "told", one.digest, "2")
    assert one.digest in page
    assert other.digest in page
    assert told("diff", "told", "1", "1") == "The two versions are the same.\n"
    described = told("describe", "trainingset", "told")
    lines = [line.split() for line in described.splitlines()]
    assert [line[:2] for line in lines if line[1:2] in ([one.digest], [other.digest])] == [
        ["2", other.digest],
        ["1", one.digest],
    ]
    assert ["all", "late", "true", "2"] in lines
