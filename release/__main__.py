"""``python -m release images|push …``: what the Makefile's targets of the same names run."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from release import images
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
    asked = parser.parse_args()
    try:
        if asked.command == "images":
            build_images(asked.base, asked.only or images.TARGETS)
        else:
            push_images(asked.registry, asked.only or images.TARGETS, DIST)
    except ContainersError as error:
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


def push_images(registry: str, targets: tuple[str, ...], into: Path) -> None:
    pushed = images.push(found(), registry, targets)
    for name in pushed.values():
        print(name)
    if set(images.IN_CHART) <= pushed.keys():
        into.mkdir(exist_ok=True)
        path = into / "images.yaml"
        path.write_text(images.values(pushed))
        print(f"as values of the chart: {path.relative_to(images.ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
