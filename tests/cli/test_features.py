"""``features`` on the command line: the entities that are asked for."""

from __future__ import annotations

from typing import Any

import pytest

from featurestore.cli.features import parse_entities
from featurestore.cli.output import columns
from featurestore.errors import RequestError
from featurestore.resources.value import KeyType

ONE = {"id": KeyType.INT64}
TWO = {"origin": KeyType.STRING, "number": KeyType.INT32}
CITY = {"city": KeyType.STRING}


@pytest.mark.parametrize(
    ("text", "keys", "entities"),
    [
        ("id=1", ONE, [{"id": 1}]),
        ("id=1,id=2", ONE, [{"id": 1}, {"id": 2}]),
        ("id=1,2,3", ONE, [{"id": 1}, {"id": 2}, {"id": 3}]),
        ("origin=JFK,number=7", TWO, [{"origin": "JFK", "number": 7}]),
        ("origin=JFK,number=7,origin=LGA,number=8", TWO, [{"origin": "JFK", "number": 7}, {"origin": "LGA", "number": 8}]),
        ("city=a=b", CITY, [{"city": "a=b"}]),
        ('{"city": "Rome, NY"}', CITY, [{"city": "Rome, NY"}]),
        ('{"origin": "JFK", "number": 7}', TWO, [{"origin": "JFK", "number": 7}]),
    ],
)  # fmt: skip
def test_one_option_names_one_or_several_entities(text: str, keys: Any, entities: list[Any]) -> None:
    assert parse_entities(text, keys) == entities


@pytest.mark.parametrize(
    ("text", "keys", "message"),
    [
        ("id", ONE, "another type"),
        ("tail=1", ONE, "not an entity"),
        ("origin=JFK", TWO, "lacks a key"),
        ("origin=JFK,LGA,number=7", TWO, "not an entity"),
        ("origin=JFK,origin=LGA,number=7", TWO, "lacks a key"),
        ('{"id": null}', ONE, "not a string or an integer"),
        ('{"id": 1', ONE, "not JSON"),
        ("id=1.5", ONE, "another type"),
    ],
)
def test_what_names_no_entity_is_refused(text: str, keys: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        parse_entities(text, keys)


def test_only_names_are_an_output_of_get_alone(featurestore: Any, project: Any) -> None:
    assert featurestore("get", "views", "-o", "name").out == "featureview/aircraft-delays\n"
    for command in (["logs"], ["history", "pipeline", "flights"], ["describe", "view", "aircraft-delays"]):
        said = featurestore(*command, "-o", "name")
        assert said.code == 2
        assert "json, yaml or wide" in said.err
        assert featurestore(*command, "-o", "wide").code == 0


def test_a_page_can_be_read_by_machines_and_names_are_taken_with_underscores(
    featurestore: Any, project: Any
) -> None:
    said = featurestore("describe", "view", "aircraft_delays", "-o", "json")
    assert '"name": "aircraft-delays"' in said.out
    assert featurestore("get", "view", "aircraft_delays").code == 0


def test_numbers_are_grouped_and_texts_are_not() -> None:
    assert columns(["ROWS", "KEY"], [[1234567, "1234567"]]).splitlines()[1] == "1,234,567   1234567"
