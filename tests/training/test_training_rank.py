"""Which share of a training set is a process's own, by the environment that its launcher wrote."""

from __future__ import annotations

import json
from typing import Any

import pytest

from featurestore.client.training_rank import place_of
from featurestore.errors import RequestError

CLUSTER = {"chief": ["a:1"], "worker": ["b:1", "c:1"], "ps": ["d:1"]}


def tensorflow(kind: str, index: Any = 0, cluster: Any = CLUSTER) -> dict[str, str]:
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


@pytest.mark.parametrize(
    ("environ", "place"),
    [
        ({}, (0, 1)),
        ({"RANK": "2", "WORLD_SIZE": "3"}, (2, 3)),
        ({"RANK": "2", "WORLD_SIZE": "3", "PET_NODE_RANK": "0", "PET_NNODES": "1"}, (2, 3)),
        (tensorflow("chief"), (0, 3)),
        (tensorflow("worker", 1), (2, 3)),
        (tensorflow("worker", "1", {"worker": ["b:1", "c:1"]}), (1, 2)),
        ({"PET_NODE_RANK": "1", "PET_NNODES": "2"}, (1, 2)),
        ({"PET_NODE_RANK": "1", "PET_NNODES": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}, (5, 8)),
    ],
)
def test_rank_and_world_are_what_the_launcher_wrote(environ: dict[str, str], place: tuple[int, int]) -> None:
    assert place_of(None, None, environ) == place


def test_what_is_given_comes_before_the_environment() -> None:
    assert place_of(1, 2, {"RANK": "0", "WORLD_SIZE": "9"}) == (1, 2)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"RANK": "0"}, "RANK and WORLD_SIZE"),
        ({"RANK": "3", "WORLD_SIZE": "3"}, "3 of 3"),
        ({"RANK": "x", "WORLD_SIZE": "3"}, "x of 3"),
        (tensorflow("evaluator"), "got evaluator"),
        (tensorflow("ps"), "no share"),
        (tensorflow("worker", 2), "3 of 3"),
        ({"TF_CONFIG": "{"}, "TF_CONFIG"),
        ({"TF_CONFIG": "[]"}, "TF_CONFIG"),
        ({"PET_NODE_RANK": "0", "PET_NNODES": "1:4"}, "0 of 1:4"),
        ({"PET_NODE_RANK": "0", "PET_NNODES": "2", "LOCAL_RANK": "0"}, "LOCAL_WORLD_SIZE"),
    ],
)
def test_an_environment_that_tells_no_rank_is_refused_instead_of_read_as_the_only_one(
    environ: dict[str, str], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        place_of(None, None, environ)
