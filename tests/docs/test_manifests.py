"""Every resource that we show to people is taken by the API server as it stands; those of fixtures/specs: tests/cluster."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.control_plane import ControlPlane

from featurestore.cli.template import FILES
from featurestore.resources.kinds import GROUP, KINDS, VERSION

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
Object = dict[str, Any]


def texts() -> Iterator[tuple[str, str]]:
    """Where it stands, and YAML."""
    for page in PAGES:
        # Also what is indented, as in a list.
        for block in re.findall(r"^ *```yaml\n(.*?)^ *```", page.read_text(), re.MULTILINE | re.DOTALL):
            yield page.name, block
    for path in sorted(ROOT.glob("demo/**/*.yaml")):
        yield f"demo/{path.name}", path.read_text()
    for name, text in FILES.items():
        if name.endswith(".yaml"):
            yield f"init/{name}", text


def shown() -> dict[str, Object]:
    """Resources by where they stand and their names."""
    found: dict[str, Object] = {}
    for where, text in texts():
        for one in yaml.safe_load_all(text):
            if isinstance(one, dict) and one.get("kind") in KINDS:
                named = f"{where}-{one['kind']}-{one['metadata']['name']}"
                found[f"{named}-{len(found)}"] = one
    return found


SHOWN = shown()


@pytest.mark.parametrize("named", SHOWN)
def test_what_we_show_is_taken(control_plane: ControlPlane, untouched_namespace: str, named: str) -> None:
    # The laptop lets one leave the version out.
    given = {"apiVersion": f"{GROUP}/{VERSION}", **SHOWN[named]}
    command = ("apply", "--dry-run=server", f"--namespace={untouched_namespace}", "--filename=-")
    assert "created (server dry run)" in control_plane.kubectl(*command, stdin=json.dumps(given))


def test_what_is_applied_again_is_unchanged_whatever_its_kind(
    control_plane: ControlPlane, namespace: str
) -> None:
    """GitOps tools see no drift: the server adds nothing that the same file would take away."""
    objects = [*SHOWN.values()]
    for path in sorted(ROOT.glob("fixtures/specs/valid/*.yaml")):
        objects += filter(None, yaml.safe_load_all(path.read_text()))
    items = []
    for number, one in enumerate(objects):
        version = one.get("apiVersion", f"{GROUP}/{VERSION}")
        given = {
            "apiVersion": version,
            "kind": one["kind"],
            "metadata": {"name": f"n{number}"},
            "spec": one["spec"],
        }
        items += [given] if one["kind"] in KINDS else []
    assert {one["kind"] for one in items} == {*KINDS}
    command = ("apply", f"--namespace={namespace}", "--filename=-")
    several = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    assert control_plane.kubectl(*command, stdin=several).count(" created") == len(items)
    again = control_plane.kubectl(*command, stdin=several)
    assert [line for line in again.splitlines() if not line.endswith(" unchanged")] == []


@pytest.mark.parametrize("where", ["README.md", "install.md", "demo/", "init/"])
def test_each_place_that_shows_resources_was_read(where: str) -> None:
    assert {it.split("-")[1] for it in SHOWN if it.startswith(where)} >= {"DataPipeline"}
