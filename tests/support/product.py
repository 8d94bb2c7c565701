"""The images of the product, as a node of the tests has them: built from this checkout when something in it changed."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from pathlib import Path

from cluster.image import BASE, IMAGES, build, containers
from cluster.node import Node

from release.images import DOCKERFILE

ROOT = Path(__file__).parents[2]
REDIS = Path(__file__).parents[1] / "node" / "redis.Dockerfile"
_SOURCES = ("featurestore", "transforms", "operator/featurestore_operator", "docker", "requirements")
_FILES = ("pyproject.toml", "README.md", "LICENSE", ".dockerignore")
_MADE = "__pycache__"


def job_image(node: Node) -> str:
    """Name of the image that Jobs run, which the node has."""
    return _there(node, "job", DOCKERFILE, ROOT, _checkout(), target="job")


def operator_image(node: Node) -> str:
    """Name of the operator's image, which the node has."""
    return _there(node, "operator", DOCKERFILE, ROOT, _checkout(), target="operator")


def redis_image(node: Node) -> str:
    """Name of an image with a Redis server, which the node has."""
    return _there(node, "redis", REDIS, REDIS.parent, [REDIS])


def _there(
    node: Node, name: str, dockerfile: Path, context: Path, made_of: list[Path], target: str = ""
) -> str:
    repository = f"localhost/featurestore-tests/{name}"
    tagged = f"{repository}:{_digest(made_of)}"
    IMAGES.mkdir(parents=True, exist_ok=True)
    with (IMAGES / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = node.images()
        if tagged not in known:
            builder = containers()
            older = builder.tagged(repository)
            image = build(dockerfile, context, tagged, target)
            node.load(image)
            # The node keeps it, and buildah the layers that it was made of.
            image.archive.unlink()
            node.forget_images(name for name in known if name.startswith(f"{repository}:"))
            builder.remove(name for name in older if name != tagged)
    return tagged


def _checkout() -> list[Path]:
    return [*_below(_SOURCES), *(ROOT / name for name in _FILES)]


def _below(folders: tuple[str, ...]) -> Iterator[Path]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and _MADE not in path.parts:
                yield path


def _digest(paths: list[Path]) -> str:
    digest = hashlib.sha256(BASE.encode())
    for path in paths:
        content = path.read_bytes()
        digest.update(f"\0{path.relative_to(ROOT)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]
