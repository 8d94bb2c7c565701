"""Which of how many processes of a training this one is, by what its launcher wrote into the environment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from featurestore.errors import RequestError

_EXPLICIT = "Give rank= and world_size="


class Place(NamedTuple):
    rank: int
    world_size: int


def place_of(rank: int | None, world_size: int | None, environ: Mapping[str, str]) -> Place:
    """The rank and the number of ranks: as given, else ``RANK`` and ``WORLD_SIZE``, else of ``TF_CONFIG``, else of
    ``PET_NODE_RANK`` and ``PET_NNODES`` (with ``LOCAL_RANK`` where torchrun set it), else the only one.

    >>> place_of(None, None, {"RANK": "1", "WORLD_SIZE": "4"})
    Place(rank=1, world_size=4)

    Raises:
        RequestError: only one of the two is there, or they are not a rank and a number of ranks.
    """
    if rank is not None or world_size is not None:
        return _checked("rank and world_size", rank, world_size)
    if "RANK" in environ or "WORLD_SIZE" in environ:
        return _checked("RANK and WORLD_SIZE", environ.get("RANK"), environ.get("WORLD_SIZE"))
    if environ.get("TF_CONFIG"):
        return _of_tensorflow(environ["TF_CONFIG"])
    if "PET_NODE_RANK" in environ or "PET_NNODES" in environ:
        node = _checked(
            "PET_NODE_RANK and PET_NNODES", environ.get("PET_NODE_RANK"), environ.get("PET_NNODES")
        )
        if "LOCAL_RANK" not in environ:
            return node
        local = _checked(
            "LOCAL_RANK and LOCAL_WORLD_SIZE", environ["LOCAL_RANK"], environ.get("LOCAL_WORLD_SIZE")
        )
        return Place(node.rank * local.world_size + local.rank, node.world_size * local.world_size)
    return Place(0, 1)


def _of_tensorflow(config: str) -> Place:
    """The chief is the first, and the workers follow; parameter servers and evaluators have no share."""
    try:
        settings = json.loads(config)
        task, cluster = settings["task"], settings.get("cluster", {})
        kind, index = task["type"], int(task["index"])
        chiefs = len(cluster.get("chief", cluster.get("master", ())))
        workers = len(cluster.get("worker", ()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RequestError(
            "the environment does not tell this process's rank",
            where="TF_CONFIG",
            wanted='JSON such as {"cluster": {"worker": […]}, "task": {"type": "worker", "index": 0}}',
            got=config[:200],
            hint=_EXPLICIT,
        ) from error
    if kind not in ("chief", "master", "worker"):
        raise RequestError(
            "this process has no share of the rows",
            where="TF_CONFIG",
            wanted="a task of type chief or worker",
            got=str(kind),
            hint=_EXPLICIT,
        )
    return _checked("TF_CONFIG", index + (chiefs if kind == "worker" else 0), chiefs + workers)


def _checked(where: str, rank: Any, world_size: Any) -> Place:
    try:
        place = Place(int(rank), int(world_size))
    except (TypeError, ValueError):
        place = Place(0, 0)
    if not 0 <= place.rank < place.world_size:
        raise RequestError(
            "this is not a rank and a number of ranks",
            where=where,
            wanted="both, the rank from 0 to below the number",
            got=f"{rank} of {world_size}",
            hint=_EXPLICIT,
        )
    return place
