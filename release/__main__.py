"""``python -m release images|push|release|check …``: what the Makefile's targets of the same names run."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

from cluster.binaries import MissingError
from server import ServerError

from release import images, publish, version
from release.check import check
from release.containers import ContainersError, found

DIST = images.ROOT / "dist"


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="release")
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("images", help="build the images, and try each")
    build.add_argument(
        "--base", default="", help="what they are based on; debootstrap: made here of Debian's packages"
    )
    build.add_argument("--only", action="append", choices=images.TARGETS, help="one of them; again for more")
    push = commands.add_parser("push", help="push the images, and print their digests")
    push.add_argument("--registry", required=True, help="such as registry.example.org/features")
    push.add_argument("--only", action="append", choices=images.TARGETS)
    release = commands.add_parser("release", help="build, try and publish everything")
    dry = commands.add_parser("check", help="do so to a registry of this machine's own, and remove it")
    release.add_argument("--registry", required=True)
    for it in (release, dry):
        it.add_argument("--base", default="")
    asked = parser.parse_args()
    try:
        if asked.command == "images":
            build_images(asked.base, asked.only or images.TARGETS)
        elif asked.command == "push":
            push_images(asked.registry, asked.only or images.TARGETS, DIST)
        elif asked.command == "release":
            publish_all(asked.registry.rstrip("/"), asked.base, DIST)
        else:
            check(asked.base)
    except (ContainersError, MissingError, ServerError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def build_images(base: str, targets: tuple[str, ...]) -> None:
    containers = found()
    for target in targets:
        began = time.monotonic()
        images.build(containers, base, [target])
        said = images.tried(containers, target)
        print(
            f"{images.image(target)}: {said.splitlines()[-1]} ({time.monotonic() - began:.0f} s)", flush=True
        )


def push_images(registry: str, targets: tuple[str, ...], into: Path) -> dict[str, str]:
    pushed = images.push(found(), registry, targets)
    for name in pushed.values():
        print(name)
    if set(images.IN_CHART) <= pushed.keys():
        into.mkdir(exist_ok=True)
        path = into / "images.yaml"
        path.write_text(images.values(pushed))
        print(f"as values of the chart: {path.relative_to(images.ROOT)}")
    return pushed


def publish_all(registry: str, base: str, into: Path) -> None:
    """Everything of a version, in ``dist/`` and in the registry."""
    if wrong := version.disagreements():
        raise ContainersError("\n".join(wrong))
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir()
    for path in publish.wheel(into):
        print(path.relative_to(images.ROOT))
    build_images(base, images.TARGETS)
    pushed = push_images(registry, images.TARGETS, into)
    publish.bills(pushed, into)
    chart = publish.chart(pushed, registry, into)
    print(publish.chart_url(registry))
    print(publish.bundled(found(), pushed, registry, chart, into))


if __name__ == "__main__":
    sys.exit(main())
