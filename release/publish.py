"""Everything that is published of a version, into a folder and to a registry: what ``make release`` does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.binaries import built

from release import bundle, images
from release.containers import Containers, ContainersError, is_loopback

BILL_TYPE = "application/vnd.cyclonedx+json"
BUNDLE = "featurestore-bundle"
CHARTS = "charts"
"""Below the registry: the chart has the operator's name, and an image and a chart cannot have one repository."""


def wheel(into: Path) -> list[Path]:
    """The source distribution, and the wheel that is built of it."""
    uv = [Path(sys.executable).with_name("uv"), "build", "--quiet", "--no-build-isolation"]
    run([*uv, f"--python={sys.executable}", f"--out-dir={into}", images.ROOT])
    return sorted([*into.glob("*.tar.gz"), *into.glob("*.whl")])


def bills(pushed: Mapping[str, str], into: Path) -> dict[str, Path]:
    """For each image what it is made of, as CycloneDX; in the registry it refers to the image (OCI 1.1)."""
    made = {}
    for target, name in pushed.items():
        made[target] = into / f"featurestore-{target}.cdx.json"
        plain = {"SYFT_REGISTRY_INSECURE_USE_HTTP": "true"} if is_loopback(name) else {}
        # Packages, and not each file.
        scan = [program("syft"), "scan", f"registry:{name}", "--quiet", "--select-catalogers=-file"]
        run(
            [*scan, f"--output=cyclonedx-json={made[target]}"],
            {"SYFT_CHECK_FOR_APP_UPDATE": "false", **plain},
        )
        attach = [program("oras"), "attach", *plain_http(name), f"--artifact-type={BILL_TYPE}", name]
        run([*attach, f"{made[target].name}:{BILL_TYPE}"], folder=into)
    return made


def packages(bill: Path) -> set[tuple[str, str]]:
    """Name and version of all that a bill of materials lists; tzdata is a package of Debian's and one of Python's."""
    return {(it["name"], it.get("version", "")) for it in json.loads(bill.read_text())["components"]}


def referrers(name: str) -> list[str]:
    """Types of what refers to an image in its registry."""
    shown = run([program("oras"), "discover", *plain_http(name), "--format=json", name])
    return [it["artifactType"] for it in json.loads(shown)["referrers"]]


def chart(pushed: Mapping[str, str], registry: str, into: Path) -> Path:
    """The chart, with values that name the pushed images by digest, as a file and in the registry."""
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(shutil.copytree(bundle.CHART, Path(folder) / "chart"))
        values = (copied / "values.yaml").read_text()
        for target in images.IN_CHART:
            before = f"  {target}: {images.image(target)}\n"
            if before not in values:
                raise ContainersError(
                    f"operator/chart/values.yaml: wanted {before.strip()!r}, which a release replaces"
                )
            values = values.replace(before, f"  {target}: {pushed[target]}\n")
        (copied / "values.yaml").write_text(values)
        run([program("helm"), "package", copied, f"--destination={into}"])
    path = into / f"featurestore-operator-{images.version()}.tgz"
    run([program("helm"), "push", path, chart_url(registry).rpartition("/")[0], *plain_http(registry)])
    return path


def chart_url(registry: str) -> str:
    """``oci://registry.example.org/features/charts/featurestore-operator``: what Helm installs."""
    return f"oci://{registry}/{CHARTS}/featurestore-operator"


def templated(chart_name: str, *options: str) -> str:
    """What Helm renders of a chart."""
    helm = [program("helm"), "template", "featurestore", chart_name, "--namespace=featurestore-system"]
    return run([*helm, "--kube-version=1.31.0", *options])


def bundled(
    containers: Containers, pushed: Mapping[str, str], registry: str, chart_file: Path, into: Path
) -> str:
    """The bundle for OLM as files, judged by OLM's own validators, and as an image: its name in the registry.

    Raises:
        ContainersError: the validators refuse it; with what they say.
    """
    bundle.write(templated(str(chart_file)), into / "bundle", pushed)
    validate(into / "bundle")
    name = f"{BUNDLE}:{images.version()}"
    containers.build(
        into / "bundle" / "Dockerfile", into / "bundle", name, pull=False, created_s=images.created_s()
    )
    remote = f"{registry}/{name}"
    return f"{remote}@{containers.push(name, remote).rpartition('@')[2]}"


def validate(folder: Path) -> None:
    """Return if the validators of the Operator Framework find no error in a bundle.

    Raises:
        ContainersError: they do; with all that they say.
    """
    command = [program("operator-verify"), "manifests", "--operatorhub_validate", "--object_validate", folder]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    printed = done.stdout + done.stderr
    # It ends with 0 whatever it finds, and says so line by line.
    if done.returncode or "level=error" in printed or "level=fatal" in printed:
        raise ContainersError(f"{folder} is no bundle that OLM takes:\n{printed}")


def plain_http(name: str) -> list[str]:
    """What Helm and ORAS need for a registry on this machine."""
    return ["--plain-http"] if is_loopback(name) else []


def program(name: str) -> Path:
    """One that the machine has, else the one that ``tests/services release`` built.

    Raises:
        MissingError: there is none.
    """
    found = shutil.which(name)
    return Path(found) if found else built(name)


def run(
    command: Sequence[object], environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> str:
    """What a command prints.

    Raises:
        ContainersError: it failed; with what it said.
    """
    line = [*map(str, command)]
    done = subprocess.run(
        line,
        env={**os.environ, **(environment or {})},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ContainersError(
            f"{' '.join(line[:6])} … ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
    return done.stdout
