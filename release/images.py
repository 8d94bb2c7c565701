"""The images of a checkout: each is built, tried, and pushed, and is then known by its digest."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from release.containers import Containers, ContainersError

ROOT = Path(__file__).parents[1]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
TARGETS = ("operator", "job", "kserve")
TRIALS = {
    "operator": ("operator_image.py",),
    "job": ("job_image.py",),
    "kserve": ("job_image.py", "kserve_image.py"),
}
"""For each target the program, in pieces, that ends well in a container whose image is whole, and prints what it saw."""
IN_CHART = ("operator", "job")
"""Those that the chart's values name."""


def version() -> str:
    """``0.1.0``: that of the packages, and so of all that is made of this checkout."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def image(target: str) -> str:
    """The name of an image here: ``featurestore-job:0.1.0``."""
    return f"featurestore-{target}:{version()}"


def created_s() -> int:
    """When what is made of this checkout says that it was made: the time of its commit, in seconds since 1970."""
    return int(_git("log", "-1", "--format=%ct"))


def default_base() -> str:
    """What images are based on if nobody says otherwise: the Dockerfile's own default."""
    found = re.search(r"^ARG BASE=(\S+)$", DOCKERFILE.read_text(), re.MULTILINE)
    assert found, DOCKERFILE
    return found[1]


def local_base(containers: Containers) -> str:
    """Name of a base made of Debian's packages, for machines that reach those and no registry of images."""
    from cluster.image import base

    made = base()
    if not containers.has(made.name):
        containers.load(made.archive)
    return made.name


def build(containers: Containers, base: str, targets: Iterable[str] = TARGETS) -> Mapping[str, str]:
    """The images of these targets by target. ``base``: an image, ``debootstrap`` to make one here, or "" for the default.

    Raises:
        ContainersError: the base cannot be had, or a build failed.
    """
    if base == "debootstrap":
        base = local_base(containers)
    base = base or default_base()
    if not containers.has(base):
        try:
            containers.pull(base)
        except ContainersError as error:
            raise ContainersError(
                f"{error}\n{base} cannot be pulled: name another base by BASE=…; BASE=debootstrap makes one of "
                "Debian's packages (root on Debian)"
            ) from error
    revision = _git("rev-parse", "HEAD")
    if _git("status", "--porcelain"):
        revision += "-dirty"
    arguments = {"BASE": base, "VERSION": version(), "REVISION": revision}
    built = {}
    for target in targets:
        built[target] = image(target)
        containers.build(
            *(DOCKERFILE, ROOT, built[target]),
            target=target,
            arguments=arguments,
            created_s=created_s(),
            pull=False,
        )
    return built


def tried(containers: Containers, target: str) -> str:
    """What the program that tries an image printed.

    Raises:
        ContainersError: with all that it printed, if it did not end well.
    """
    folder = Path(__file__).with_name("trials")
    program = "\n".join((folder / name).read_text() for name in TRIALS[target])
    return containers.run(image(target), ["python", "-c", program]).strip()


def push(containers: Containers, registry: str, targets: Iterable[str] = TARGETS) -> dict[str, str]:
    """Push images; by target what they are there: ``registry/featurestore-job:0.1.0@sha256:…``.

    The digest is what is pulled; the tag tells people which version that is.
    """
    pushed = {}
    for target in targets:
        name = f"{registry.rstrip('/')}/{image(target)}"
        _, _, digest = containers.push(image(target), name).rpartition("@")
        pushed[target] = f"{name}@{digest}"
    return pushed


def values(pushed: Mapping[str, str]) -> str:
    """The chart's values that name pushed images, as YAML."""
    return "images:\n" + "".join(f"  {target}: {pushed[target]}\n" for target in IN_CHART)


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()
