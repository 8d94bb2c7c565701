"""docs/views.md says what a view gives."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from laptop import Laptop

from featurestore.aggregates.aggregates import AGGREGATES
from featurestore.client.features import Features

PAGE = (Path(__file__).parents[2] / "docs" / "views.md").read_text()
PIPELINE = {
    "kind": "DataPipeline",
    "metadata": {"name": "payments"},
    "spec": {"source": {"uri": "raw/*.csv", "format": "CSV"}},
}


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def table(name: str) -> list[list[str]]:
    found = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- end -->", PAGE, re.DOTALL)
    assert found is not None
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in found[1].splitlines()]


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Laptop:
    laptop = Laptop(tmp_path_factory.mktemp("views") / "project", datetime(2024, 5, 6, tzinfo=UTC))
    laptop.apply(PIPELINE, yaml.safe_load(block("yaml")))
    (laptop.folder / "raw" / "payments.csv").write_text(block("csv"))
    laptop.run()
    return laptop


def read(laptop: Laptop, times: list[str], as_of: str | None = None) -> Features:
    labels = {"card_id": ["c1"] * len(times), "event_timestamp": times}
    return laptop.store(laptop.now).get_features("card-spending", labels, as_of=as_of)


def test_each_value_is_the_one_in_the_table(laptop: Laptop) -> None:
    head, _, *rows = table("answers")
    answer = read(laptop, [row[0] for row in rows])
    values, statuses = answer.to_dict(), answer.statuses()
    for place, (time, *said) in enumerate(rows):
        for name, cell in zip(head[1:-1], said[:-1], strict=True):
            value, status = values[name][place], str(statuses[name][place])
            assert cell == (str(value) if status == "PRESENT" else status), (time, name)
    assert values["cents"][1] == 1000


def test_what_was_not_known_then_is_left_out_if_asked_for(laptop: Laptop) -> None:
    [as_of] = re.findall(r'as_of="([^"]+)"', PAGE)
    assert "at 11:00 the amount is 10.0" in PAGE
    assert read(laptop, ["2024-05-01T11:00:00Z"], as_of).to_dict()["amount"] == [10.0]


def test_the_functions_and_their_types_are_those_there_are() -> None:
    _, _, *rows = table("aggregates")
    assert {name: types for name, types, _ in rows} == {
        function.value: " or ".join(definition.gives) if definition.gives else "any but lists"
        for function, definition in AGGREGATES.items()
    }
