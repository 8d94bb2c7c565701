"""Names of every odd kind, in every position at once: right values, or a refusal before anything is written."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import tempfile
import unicodedata
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from examples import exhaustive
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from laptop import Clock, Laptop
from pydantic import ValidationError

from featurestore.arrivals.files.glob import has_magic, is_temporary
from featurestore.errors import SpecError
from featurestore.registry.project import open_project
from featurestore.resources import DataPipeline, FeatureView
from featurestore.storage import paths

pytestmark = pytest.mark.slow
START = datetime(2024, 3, 30, 9, tzinfo=UTC)
EVENT = START - timedelta(hours=2)
HIVES_NULL = "__HIVE_DEFAULT_PARTITION__"
SPECIALS = (
    *(
        "a#b",
        "a?b",
        "a%b",
        "a%20b",
        "%2e%2e",
        "a[b]",
        "[x]",
        "[!x]",
        "a{b}",
        "{a,b}",
        "a*b",
        "**",
        "*",
        "?",
        "[",
    ),
    *(
        "a b",
        " a",
        "a ",
        "a.",
        ".a",
        "..a",
        "...",
        "-a",
        "--a",
        "_a",
        "__a",
        "~a",
        "a~",
        "$HOME",
        "${a}",
        "`a`",
    ),
    *(
        "a'b",
        'a"b',
        '"a"',
        "a;b",
        "a&b",
        "a|b",
        "a\\b",
        "\\",
        "a\nb",
        "a\tb",
        "a\rb",
        "\x01",
        "\x7f",
        "\x1b[31m",
    ),
    *(
        "a=b",
        "a@b",
        "a:b",
        "a::b",
        "s3:a",
        "a,b",
        "a!b",
        "(a)",
        "a^b",
        "^a$",
        "a+b",
        "<a>",
        "\x85",
        "\u2028",
        "\ufeffa",
    ),
    *(
        "aüß日",
        "🛩️",
        "👩‍👩‍👧",
        "e\u0301",
        "é",
        "ﬁ",
        "İ",
        "ı",
        "ß",
        "SS",
        "א\u202eב",
        "\u200f",
        "𝔘",
        "\U0010ffff",
        "\u00a0",
    ),
    *(
        "CON",
        "con",
        "NUL",
        "aux.csv",
        "select",
        "NULL",
        "null",
        "None",
        "true",
        "NaN",
        "inf",
        "1",
        "1.0",
        "0x1",
        "-",
        "_",
    ),
    *(
        "__index_level_0__",
        "__batch",
        "__file",
        "__row",
        "__key",
        "_batch",
        "_change_type",
        "_delta_log",
        "_metadata",
    ),
    *("a.csv", "a.parquet", "a.gz", "a.tmp", "part=1", "x" * 200, "日" * 60, "é" * 100),
)
SIGNS = " #?%&+=*[]{}()'\"`\\/|;:,.<>!$@^~_-\n\t\r\x00\x1béß日🛩\u0301\u202e\u200bAa1"
ANY = st.characters(exclude_categories=["Cs"])
TEXT = st.sampled_from(SPECIALS) | st.text(SIGNS, max_size=12) | st.text(ANY, max_size=12)


def fits(name: str, most: int = 255) -> bool:
    return name not in ("", ".", "..") and not set(name) & {"/", "\0"} and len(name.encode()) <= most


NAME = TEXT.filter(lambda name: fits(name, 200))
FILE = NAME | st.just("x" * 255)
COLUMN = TEXT.filter(lambda name: "\0" not in name)
"""What a header may say."""
RESOURCE = st.sampled_from(["a", "0", "con", "nul", "null", "true", "a--b", "x" * 63]) | TEXT
FEATURE = st.sampled_from(["v", "select", "NULL", "rowid", "CON", "date", "x" * 63]) | TEXT


NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
"""What listings of the server cannot say: those of AWS are encoded."""


@dataclass(frozen=True)
class Odd:
    """``keys``: of the row of each file. ``spelled``: whether the glob names the folder of the files. ``linked``:
    whether a local folder of files is a link."""

    project: str
    root: str
    folder: str
    files: tuple[str, ...]
    keys: tuple[tuple[str, str], ...]
    part: str
    column: str
    extra: str
    key: str
    time: str
    pipeline: str
    view: str
    feature: str
    form: str
    root_on_s3: bool
    source_on_s3: bool
    spelled: bool
    linked: bool

    @property
    def columns(self) -> dict[str, str]:
        """Our name to the one in the file; a CSV file has no name of blanks."""
        columns = {"k1": (self.key, 1), "at": (self.time, 3), "value": (self.column, 4)}
        blank = "column_{}" if self.form == "CSV" else ""
        return {
            ours: name if name.strip() else blank.format(at) or name for ours, (name, at) in columns.items()
        }

    @property
    def root_in_bucket(self) -> bool:
        return self.root_on_s3 and not NOT_XML.search(self.root)

    @property
    def source_in_bucket(self) -> bool:
        return self.source_on_s3 and not NOT_XML.search("".join((self.folder, self.part, *self.files)))


ODD = st.builds(
    Odd,
    project=NAME,
    root=NAME.filter(lambda name: fits(name, 60)),  # keys have 1,024 bytes, encoded
    folder=NAME,
    files=st.lists(FILE, min_size=3, max_size=3, unique=True).map(tuple),
    keys=st.lists(st.tuples(TEXT, TEXT), min_size=3, max_size=3, unique=True).map(tuple),
    part=NAME,
    column=COLUMN,
    extra=COLUMN,
    key=COLUMN,
    time=COLUMN,
    pipeline=RESOURCE,
    view=RESOURCE,
    feature=FEATURE,
    form=st.sampled_from(["CSV", "JSON", "Parquet"]),
    root_on_s3=st.booleans(),
    source_on_s3=st.booleans(),
    spelled=st.booleans(),
    linked=st.booleans(),
)


def is_plain(column: str) -> bool:
    """Whether a dataset may have a column of this name."""
    return not (
        column.startswith("__")
        or column in ("", "*")
        or (column.startswith("^") and column.endswith("$"))
        or set(column) & set("\r\n\0")
    )


def folded(*names: str) -> set[str]:
    return {unicodedata.normalize("NFKC", name.casefold()) for name in names}


def escaped(name: str) -> str:
    """A glob that means this name and no other."""
    return re.sub(r"[*?\[]", r"[\g<0>]", name)


class Place(Laptop):
    """A laptop with its storage root and its source wherever the names say."""

    def __init__(self, names: Odd, around: Path, bucket: str) -> None:
        self.names, self.clock = names, Clock(START)
        self.objects = fsspec.filesystem("s3", use_listings_cache=False)
        self.bucket = f"features/{bucket}"
        try:
            self._open(around / names.project, names.root)
        except SpecError:
            # A local root stands in the folder of the project.
            name = names.root if names.root_on_s3 else f"{names.project}/{names.root}"
            assert re.search(r"[#?\\%\x00-\x1f\x7f-\x9f]|::|_delta_log", name), name
            assert sorted(it.name for it in (around / names.project).iterdir()) == ["raw", "store.yaml"]
            assert self.objects.find(self.bucket) == []
            self._open(around / "plain", "plain")

    def _open(self, folder: Path, root: str) -> None:
        self.folder = folder
        (folder / "raw").mkdir(parents=True)
        uri = f"s3://{self.bucket}/{root}" if self.names.root_in_bucket else root
        store = {"kind": "FeatureStore", "metadata": {"name": "default"}, "spec": {"offline": {"uri": uri}}}
        (folder / "store.yaml").write_text(yaml.safe_dump(store))
        self.project = open_project(folder, {}, folder)
        self.storage = self.project.storage

    def put(self, path: str, data: bytes) -> None:
        if self.names.source_in_bucket:
            self.objects.pipe_file(f"{self.bucket}/raw/{path}", data)
        else:
            file = self.folder / "raw" / path
            if self.names.linked and not (self.folder / "linked").exists():
                (self.folder / "linked").mkdir()
                os.symlink("../linked", self.folder / "raw" / self.names.folder)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            past_s = (START - timedelta(hours=1)).timestamp()
            os.utime(file, (past_s, past_s))

    def lists(self, file: str) -> bool:
        """Whether the source has this file: hidden and half-written ones it has not, unless they are spelled out."""
        names = self.names
        folder = not is_temporary(names.folder) or (names.spelled and not has_magic(names.folder))
        return folder and not is_temporary(f"part={names.part}") and not is_temporary(file)

    def resources(self, used: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Pipeline and view; names that are refused are plain ones instead. ``used``: names in the dataset."""
        names = self.names
        types = {"value": "int64", "at": "timestamp", "k1": "string"}
        columns = names.columns
        source = {
            "uri": f"s3://{self.bucket}/raw/**/*" if names.source_in_bucket else "raw/**/*",
            "format": names.form,
            "partitions": [{"name": "part", "type": "string"}],
            **({} if names.form == "Parquet" else {"compression": "None"}),
            **({"csv": {"nullValues": ["no null"]}} if names.form == "CSV" else {}),
        }
        if names.spelled:
            source["uri"] = source["uri"].replace("**", f"{escaped(names.folder)}/**")
        declared = [
            {"name": used[ours], "type": types[ours], **({} if used[ours] == name else {"source": name})}
            for ours, name in columns.items()
        ]
        # No table has two columns that differ in case only.
        others = folded(*names.columns.values(), "value", "at", "k1", "k2", "part")
        is_new = is_plain(names.extra) and not folded(names.extra) & others
        spec = {
            "source": source,
            "columns": [*declared, {"name": "k2", "type": "string"}],
            "schemaPolicy": {"newColumn": "Evolve" if is_new else "Ignore"},
        }
        pipeline = {"kind": "DataPipeline", "metadata": {"name": names.pipeline}, "spec": spec}
        pipeline = accepted(DataPipeline, pipeline, {**pipeline, "metadata": {"name": "p"}})
        view = {
            "kind": "FeatureView",
            "metadata": {"name": names.view},
            "spec": {
                "entity": {
                    "name": "e",
                    "joinKeys": [{"name": used["k1"], "type": "string"}, {"name": "k2", "type": "string"}],
                },
                "source": {"pipeline": pipeline["metadata"]["name"]},
                "timestampField": used["at"],
                "features": [
                    {"name": names.feature, "type": "int64", "column": used["value"]},
                    {"name": "in_path", "type": "string", "column": "part"},
                ],
            },
        }
        view = accepted(FeatureView, view, {**view, "metadata": {"name": "w"}})
        plain = [{**view["spec"]["features"][0], "name": "v"}, view["spec"]["features"][1]]
        return pipeline, accepted(FeatureView, view, {**view, "spec": {**view["spec"], "features": plain}})


def data(names: Odd, row: dict[str, Any]) -> bytes:
    """One row as a file of the format."""
    match names.form:
        case "CSV":
            text = io.StringIO(newline="")
            csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([row.keys(), row.values()])
            return text.getvalue().encode()
        case "JSON":
            return (json.dumps(row, ensure_ascii=False) + "\n").encode()
        case _:
            file = io.BytesIO()
            pq.write_table(pa.table({name: [value] for name, value in row.items()}), file)
            return file.getvalue()


def accepted(model: Any, manifest: dict[str, Any], plain: dict[str, Any]) -> dict[str, Any]:
    """The manifest or, if its names are refused, the plain one."""
    try:
        model.model_validate(manifest)
    except ValidationError:
        return plain
    return manifest


EVERY = Odd(
    project="a%20b#",
    root="ü ß",
    folder="{a,b} [x]",
    files=("e\u0301", "é", "x" * 255),
    keys=(("a|b", "c"), ("a", "b|c"), ("", "a|bc")),
    part="a%2Fb",
    column="select",
    extra="SELECT",
    key="a b",
    time='t"s',
    pipeline="con",
    view="x" * 63,
    feature="NULL",
    form="Parquet",
    root_on_s3=False,
    source_on_s3=False,
    spelled=True,
    linked=True,
)


def check(place: Place) -> None:
    names = place.names
    assume(len(folded(*names.columns.values(), "value", "at", "k1", "k2", "part", "t")) == 9)
    assume(len({names.key, names.time, names.column, names.extra}) == 4)
    # A byte 0 is no text in CSV: its row is refused.
    assume(names.form != "CSV" or not any("\0" in key for keys in names.keys for key in keys))
    assume(names.extra not in (names.column, names.key, names.time, "k2", "part"))
    columns = names.columns
    used = {ours: name if is_plain(name) else ours for ours, name in columns.items()}
    expected: dict[tuple[str, str], int] = {}
    for number, (file, (one, two)) in enumerate(zip(names.files, names.keys, strict=True)):
        at: Any = EVENT if names.form == "Parquet" else EVENT.isoformat()
        row = {names.key: one, "k2": two, names.time: at, names.column: number, names.extra: "x"}
        place.put(f"{names.folder}/part={names.part}/{file}", data(names, row))
        if place.lists(file):
            expected[one, two] = number
    pipeline, view = place.resources(used)
    place.apply(pipeline, view)
    place.run()
    name = view["metadata"]["name"], view["spec"]["features"][0]["name"]
    rows = place.table(paths.dataset(pipeline["metadata"]["name"]))
    taken = {(row[used["k1"]], row["k2"]): (row[used["value"]], row["part"]) for row in rows}
    part = None if names.part == HIVES_NULL else unquote(names.part)
    assert taken == {key: (number, part) for key, number in expected.items()}
    assert len(rows) == len(expected)
    place.run()
    assert len(place.table(paths.dataset(pipeline["metadata"]["name"]))) == len(expected)
    if not expected:
        return
    entities: dict[str, Any] = {
        used["k1"]: [key[0] for key in names.keys],
        "k2": [key[1] for key in names.keys],
    }
    store = place.store(place.now)
    online = store.get_features([f"{name[0]}:{name[1]}", f"{name[0]}:in_path"], entities=entities).to_dict()
    timed = {**entities, "t": [place.now] * len(names.keys)}
    offline = store.get_features(
        [f"{name[0]}:{name[1]}", f"{name[0]}:in_path"], entities=timed, timestamp_column="t"
    ).to_dict()
    for read in (online, offline):
        assert read[name[1]] == [expected.get(key) for key in names.keys]
        assert read["in_path"] == [part if key in expected else None for key in names.keys]


@settings(
    max_examples=400 if exhaustive() else 3,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(ODD)
@example(EVERY)
def test_odd_names_are_read_as_they_are_or_refused_before_anything_is_written(
    s3_server: str, names: Odd
) -> None:
    with tempfile.TemporaryDirectory() as around:
        check(Place(names, Path(around), uuid.uuid4().hex))
