"""A dry run of a release: all of it, to a registry of this machine's own, read back from there, and then removed."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from release import images, publish, version
from release.containers import ContainersError, found
from release.registry import registry


def check(base: str) -> None:
    """Print each step with its seconds; return if a release of this checkout would succeed.

    Raises:
        ContainersError: it would not.
    """
    containers = found()
    with (
        tempfile.TemporaryDirectory(prefix="release-") as folder,
        registry(Path(folder) / "registry") as host,
    ):
        into, remote = Path(folder) / "dist", f"{host}/features"
        into.mkdir()
        with step("versions and fragments of the changelog"):
            if wrong := version.disagreements():
                raise ContainersError("\n".join(wrong))
        with step("wheel and source distribution, judged by twine"):
            packages = publish.wheel(into)
            publish.run([publish.program("bin/twine"), "check", "--strict", *packages])
        with step("the wheel in a new environment"):
            install(into, Path(folder) / "environment")
        with step("images, tried in containers"):
            images.build(containers, base)
            for target in images.TARGETS:
                images.tried(containers, target)
        with step("images pushed, and there by digest"):
            pushed = images.push(containers, remote, images.TARGETS)
            for name in pushed.values():
                publish.run([publish.program("oras"), "manifest", "fetch", "--plain-http", name])
        with step("bills of materials, found from the images"):
            check_bills(pushed, publish.bills(pushed, into))
        with step("chart pushed, and rendered from the registry"):
            chart = publish.chart(pushed, remote, into)
            check_chart(pushed, publish.chart_url(remote))
        with step("bundle for OLM, judged by its validators, and pushed"):
            name = publish.bundled(containers, pushed, remote, chart, into)
            publish.run([publish.program("oras"), "manifest", "fetch", "--plain-http", name])
            containers.remove([f"{publish.BUNDLE}:{images.version()}"])
    print(
        f"a release of {images.version()} would succeed; nothing of it is left but the images of this machine"
    )


def install(packages: Path, environment: Path) -> None:
    """The wheel works beside the packages that the tests ran with, where there is nothing else."""
    uv, python = Path(sys.executable).with_name("uv"), environment / "bin/python"
    (wheel,) = packages.glob("*.whl")
    publish.run([uv, "venv", "--quiet", f"--python={sys.executable}", environment])
    pinned = f"--constraint={images.ROOT / 'requirements' / 'dev.txt'}"
    publish.run([uv, "pip", "install", "--quiet", f"--python={python}", pinned, f"{wheel}[transforms]"])
    said = publish.run([environment / "bin/featurestore", "--version"], folder=environment)
    if images.version() not in said:
        raise ContainersError(f"featurestore --version: wanted {images.version()}, got {said!r}")


def check_bills(pushed: dict[str, str], bills: dict[str, Path]) -> None:
    """Each image has a bill of its own in the registry, which lists our package and what the image was given."""
    for target, name in pushed.items():
        if publish.BILL_TYPE not in publish.referrers(name):
            raise ContainersError(f"{name}: no bill of materials refers to it")
        listed = publish.packages(bills[target])
        pinned = dict(
            line.split(" ")[0].split("==")
            for line in (images.ROOT / "requirements" / f"{target}.txt").read_text().splitlines()
            if "==" in line and ";" not in line
        )
        wanted = {"featurestore": images.version(), **pinned}
        missing = wanted.items() - listed
        if missing:
            raise ContainersError(f"the bill of materials of {target} lacks {missing}")


def check_chart(pushed: dict[str, str], url: str) -> None:
    """What Helm installs from the registry runs the pushed images, by digest."""
    rendered = publish.templated(url, f"--version={images.version()}", "--plain-http")
    (deployment,) = [it for it in yaml.safe_load_all(rendered) if it and it["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    given = {it["name"]: it.get("value") for it in container["env"]}
    named = {"operator": container["image"], "job": given["FEATURESTORE_OPERATOR_JOB_IMAGE"]}
    if named != {target: pushed[target] for target in images.IN_CHART}:
        raise ContainersError(f"{url}: wanted the images {pushed}, got {named}")


@contextmanager
def step(name: str) -> Iterator[None]:
    """Print what is done, and how long it took."""
    began = time.monotonic()
    print(f"{name} … ", end="", flush=True)
    yield
    print(f"{time.monotonic() - began:.0f} s", flush=True)
