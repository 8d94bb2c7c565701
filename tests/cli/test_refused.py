"""Nothing that is refused looks like success: wrong specs of every kind in one project, and what each command says of them.

They are applied without being tried, and run together once: none stops another.
"""

from __future__ import annotations

import contextlib
import io
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from featurestore.cli.__main__ import main

STORE = "kind: FeatureStore\nmetadata: {name: default}\nspec: {offline: {uri: store}, online: {duckdb: {}}}\n---\n"
GOOD = "id,at,v,note\n1,2024-01-01T00:00:00Z,10,a\n2,2024-01-02T00:00:00Z,20,b\n"
PIPELINES = {
    "good": "uri: 'raw/*', format: CSV",
    "typo-in-a-step": "uri: 'raw/*', format: CSV}, transforms: [{filter: {where: vv > 1}}], x: {",
    "typo-in-a-column": "uri: 'raw/*', format: CSV}, columns: [{name: idd, type: int64}], x: {",
    "rule-that-is-a-number": "uri: 'raw/*', format: CSV}, expectations: [{name: r, that: v}], x: {",
    "rule-that-all-break": "uri: 'raw/*', format: CSV}, expectations: [{name: r, that: v > 99}], x: {",
    "delimiter": "uri: 'raw/*', format: CSV, csv: {delimiter: ';'}",
    "format": "uri: 'raw/*', format: Parquet",
    "no-folder": "uri: 'nowhere/*.csv', format: CSV",
    "a-folder": "uri: raw, format: CSV",
    "not-found": "uri: 'http://127.0.0.1:PORT/a.csv', format: CSV",
    "dead": "uri: 'http://127.0.0.1:1/a.csv', format: CSV",
}
VIEWS = {
    "ok": "",
    "time-of-text": "timestampField: note",
    "time-of-numbers": "timestampField: v",
    "key-of-text": "entity: {name: e, joinKeys: [{name: note, type: int64}]}",
    "feature-of-text": "features: [{name: note, type: float64}]",
    "mean-of-text": "features: [{name: m, type: float64, aggregate: {function: Mean, column: note, windows: [1d]}}]",
    "typo-in-a-feature": "features: [{name: x, type: int64, column: vv}]",
}
NOTHING = [
    "typo-in-a-step",
    "typo-in-a-column",
    "rule-that-is-a-number",
    "rule-that-all-break",
    "delimiter",
    "format",
]
EMPTY = {"no-folder": "is not there yet", "a-folder": "is a folder: write", "not-found": "has no file at"}


class _NotFound(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(404)

    do_HEAD = do_GET

    def log_message(self, *_: Any) -> None:
        """Nothing is said."""


@dataclass
class Ran:
    """What the commands said after one run. ``lines``: of the runner, by resource."""

    code: int
    lines: dict[str, list[str]]
    items: dict[str, Any]
    doctor: str
    doctor_code: int


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    folder = tmp_path_factory.mktemp("refused")
    server = HTTPServer(("127.0.0.1", 0), _NotFound)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("FEATURESTORE_URI", raising=False)
        yield _run(folder, patch, server.server_port)
    server.shutdown()
    thread.join()
    server.server_close()


def _run(folder: Path, patch: pytest.MonkeyPatch, port: int) -> Ran:
    (folder / "raw").mkdir()
    (folder / "raw" / "a.csv").write_text(GOOD)
    text = STORE
    for name, source in PIPELINES.items():
        spec = f"{{source: {{{source.replace('PORT', str(port))}}}}}".replace(", x: {}", "")
        text += f"kind: DataPipeline\nmetadata: {{name: {name}}}\nspec: {spec}\n---\n"
    for name, given in VIEWS.items():
        fields = {
            "entity": "{name: e, joinKeys: [{name: id, type: string}]}",
            "source": "{pipeline: good}",
            "timestampField": "at",
            "features": "[{name: v, type: int64}]",
        }
        if given:
            key, _, value = given.partition(": ")
            fields[key] = value
        spec = ", ".join(f"{key}: {value}" for key, value in fields.items())
        text += f"kind: FeatureView\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n---\n"
    (folder / "store.yaml").write_text(text)
    assert _call(patch, "apply", "-f", ".", "--no-try")[0] == 0
    code, out = _call(patch, "run", "--once")
    lines: dict[str, list[str]] = {}
    for line in out.splitlines():
        _, mark, about, *_ = f"{line} - - -".split(" ", 3)
        lines.setdefault(about.partition("/")[2].rstrip(":"), []).append(f"{mark} {line}")
    items = json.loads(_call(patch, "get", "all", "-o", "json")[1])["items"]
    doctor_code, doctor = _call(patch, "doctor")
    return Ran(code, lines, {item["metadata"]["name"]: item for item in items}, doctor, doctor_code)


def _call(patch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str]:
    """Exit code and standard output."""
    patch.setattr("sys.argv", ["featurestore", *arguments])
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        try:
            main()
            code: Any = 0
        except SystemExit as ended:
            code = ended.code or 0
    return code, out.getvalue()


def ready(ran: Ran, name: str) -> tuple[str, str]:
    [found] = [it for it in ran.items[name]["status"]["conditions"] if it["type"] == "Ready"]
    return found["status"], found["reason"]


@pytest.mark.parametrize("name", NOTHING)
def test_a_pipeline_that_takes_nothing_is_not_ready_and_marked(ran: Ran, name: str) -> None:
    assert ready(ran, name) == ("False", "NothingTaken")
    assert any(line.startswith("✗") and "quarantine ls" in line for line in ran.lines[name])
    assert not any(line.startswith("✓") for line in ran.lines[name])
    assert f"✗ pipeline {name}: Degraded" in ran.doctor


@pytest.mark.parametrize(("name", "why"), EMPTY.items())
def test_a_source_in_which_nothing_is_says_why_at_the_end_of_a_run(ran: Ran, name: str, why: str) -> None:
    assert ready(ran, name) == ("True", "WaitingForFiles")
    assert [line[0] for line in ran.lines[name]] == ["!"]
    assert why in ran.lines[name][0]
    assert f"– source of pipeline {name}" in ran.doctor


@pytest.mark.parametrize("name", ["time-of-text", "key-of-text", "feature-of-text", "mean-of-text"])
def test_a_view_into_which_no_row_fits_is_not_ready_and_marked(ran: Ran, name: str) -> None:
    assert ready(ran, name) == ("False", "NothingTaken")
    assert any(line.startswith("✗") and f"quarantine ls {name}" in line for line in ran.lines[name])
    assert not any(line.startswith("✓") for line in ran.lines[name])
    assert f"✗ view {name}: Degraded" in ran.doctor


@pytest.mark.parametrize("name", ["time-of-numbers", "typo-in-a-feature"])
def test_a_view_that_cannot_be_built_is_not_ready_and_marked(ran: Ran, name: str) -> None:
    assert ready(ran, name)[0] == "False"
    assert [line[0] for line in ran.lines[name]] == ["✗"]
    assert f"✗ view {name}: Degraded" in ran.doctor


def test_a_source_that_does_not_answer_is_not_ready(ran: Ran) -> None:
    assert ready(ran, "dead")[0] == "False"
    assert "✗ source of pipeline dead" in ran.doctor


def test_what_is_right_beside_them_is_done_and_the_codes_say_that_not_all_was(ran: Ran) -> None:
    assert ready(ran, "good") == ("True", "UpToDate")
    assert ready(ran, "ok")[0] == "True"
    assert any(line.startswith("✓") for line in ran.lines["ok"])
    assert ran.code != 0
    assert ran.doctor_code == 1
