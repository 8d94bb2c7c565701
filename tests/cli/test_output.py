"""How results look: columns, JSON, YAML; and how errors do."""

from __future__ import annotations

import json
from io import StringIO

import pytest
import yaml
from rich.console import Console

from featurestore.cli.output import OutputFormat, columns, dump, listing
from featurestore.cli.trouble import error_text, print_error
from featurestore.errors import NotFound, SpecError
from featurestore.humanize import age


def test_columns_are_as_wide_as_their_widest_cell_and_end_without_spaces() -> None:
    text = columns(["NAME", "ROWS", "ERRORS"], [["a", 1234567, "0"], ["long-name", None, ""]])
    assert text.splitlines() == [
        "NAME        ROWS        ERRORS",
        "a           1,234,567   0",
        "long-name   -           -",
    ]


def test_on_a_screen_a_long_last_cell_goes_on_below_itself() -> None:
    text = columns(["RULE", "REASON"], [["r", "the file does not end as it should"]], width=33)
    assert text.splitlines() == ["RULE   REASON", "r      the file does not end as", "       it should"]


def test_where_there_is_no_room_lines_stay_whole() -> None:
    reason = "the file does not end as it should"
    assert columns(["RULE", "REASON"], [["r", reason]], width=18).splitlines()[1] == f"r      {reason}"


def test_json_and_yaml_hold_the_same() -> None:
    value = listing([{"name": "flüge", "rows": 3, "fresh": None}])
    assert (
        json.loads(dump(value, OutputFormat.JSON)) == yaml.safe_load(dump(value, OutputFormat.YAML)) == value
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (185, "3m5s"), (3600, "60m"), (86400, "24h"), (864000, "10d")],
)
def test_ages_are_said_as_kubectl_says_them(seconds: float, text: str) -> None:
    assert age(seconds) == text


def test_a_future_time_has_no_negative_age() -> None:
    assert age(-5) == "0s"


def test_an_error_shows_each_of_its_parts_on_a_line() -> None:
    error = NotFound("no such view", where="/store", wanted="a view", got="'x'", hint="There is: 'y'")
    assert error_text(error).plain.splitlines() == [
        "error: no such view",
        "      in  /store",
        "  wanted  a view",
        "     got  'x'",
        "       →  There is: 'y'",
    ]


def test_of_several_problems_each_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    problems = [SpecError("one", where="a.yaml:1"), SpecError("two", where="b.yaml:2")]
    print_error(SpecError("2 problems", problems=problems))
    assert capsys.readouterr().err.count("error: ") == 2


def test_long_messages_are_not_cut_where_the_terminal_is_narrow() -> None:
    out = StringIO()
    error = NotFound("no " + "such " * 60 + "view")
    Console(file=out, width=40, soft_wrap=True).print(error_text(error))
    assert out.getvalue().count("such") == 60
    assert out.getvalue().count("\n") == 1
