"""How a newer version of a kind comes, and how one goes back: with a made-up version and field, before a real API server.

By the rules of docs/adr/0038: both versions have one schema, and nothing converts.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster.access import KubectlError
from cluster.control_plane import ControlPlane
from eventually import eventually

from featurestore.resources.crd import definition
from featurestore.resources.kinds import KINDS, defined

GROUP, PLURAL = "made-up.dev", "featureservices"
OLD, NEW = "v1alpha1", "v1beta1"
Object = dict[str, Any]


class Installation:
    """FeatureServices of another group, so that nobody else's are touched."""

    def __init__(self, plane: ControlPlane, namespace: str, folder: Path) -> None:
        self.plane, self.namespace, self.file = plane, namespace, folder / "definition.json"

    def install(self, *versions: str, field: bool) -> None:
        """The definition of a release. ``field``: whether it knows the made-up one."""
        made = copy.deepcopy(definition(KINDS["FeatureService"], versions))
        made["metadata"]["name"], made["spec"]["group"] = f"{PLURAL}.{GROUP}", GROUP
        for version in made["spec"]["versions"] if field else ():
            spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
            spec["emphasis"] = {"type": "string"}
        self.file.write_text(json.dumps(made))
        self.plane.kubectl("apply", "--server-side", "--force-conflicts", f"--filename={self.file}")
        eventually(lambda: self._served() == {*versions} and self._knows(versions[0]) is field)

    def uninstall(self) -> None:
        self.plane.kubectl("delete", "crd", f"{PLURAL}.{GROUP}")

    def apply(self, version: str, name: str = "model", **spec: Any) -> None:
        item = {
            "apiVersion": f"{GROUP}/{version}",
            "kind": "FeatureService",
            "metadata": {"name": name},
            "spec": {"features": ["delays:delay"], **spec},
        }
        self.plane.kubectl("apply", "-n", self.namespace, "-f", "-", stdin=json.dumps(item))

    def spec(self, version: str, name: str = "model") -> Object:
        """What is said: the API server fills in defaults."""
        return {field: value for field, value in self.get(version, name)["spec"].items() if value != ""}

    def get(self, version: str, name: str = "model") -> Object:
        kind = f"{PLURAL}.{version}.{GROUP}"
        return dict(json.loads(self.plane.kubectl("get", kind, name, "-n", self.namespace, "-o", "json")))

    def crd(self) -> Object:
        return dict(json.loads(self.plane.kubectl("get", "crd", f"{PLURAL}.{GROUP}", "-o", "json")))

    def _served(self) -> set[str]:
        try:
            said = self.plane.kubectl("get", "--raw", f"/apis/{GROUP}")
        except KubectlError:
            return set()
        return {it["version"] for it in json.loads(said)["versions"]}

    def _knows(self, version: str) -> bool | None:
        """Whether an object may have the made-up field; None if that is not known."""
        probe = {
            "apiVersion": f"{GROUP}/{version}",
            "kind": "FeatureService",
            "metadata": {"name": "probe", "namespace": self.namespace},
            "spec": {"features": ["delays:delay"], "emphasis": "x"},
        }
        options = ("create", "--dry-run=server", "--validate=ignore", "-o", "json", "-f", "-")
        try:
            return "emphasis" in json.loads(self.plane.kubectl(*options, stdin=json.dumps(probe)))["spec"]
        except KubectlError:
            return None


@pytest.fixture
def it(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(control_plane, namespace, tmp_path)
    installation.install(OLD, field=False)
    installation.apply(OLD, owner="ann")
    yield installation
    installation.uninstall()


def test_what_is_written_in_one_version_is_whole_in_the_other(it: Installation) -> None:
    uid = it.get(OLD)["metadata"]["uid"]
    it.install(OLD, NEW, field=True)
    assert it.spec(NEW) == it.spec(OLD) == {"features": ["delays:delay"], "owner": "ann"}
    it.apply(NEW, owner="ann", emphasis="strong")
    assert it.spec(OLD)["emphasis"] == "strong"
    # A client of the older version, which knows nothing of the field.
    kind, change = f"{PLURAL}.{OLD}.{GROUP}", {"spec": {"tags": {"team": "delays"}}}
    it.plane.kubectl("patch", kind, "model", "-n", it.namespace, "--type=merge", f"-p={json.dumps(change)}")
    assert it.spec(NEW) == {
        "features": ["delays:delay"],
        "owner": "ann",
        "emphasis": "strong",
        "tags": {"team": "delays"},
    }
    assert it.get(NEW)["metadata"]["uid"] == uid


def test_the_way_back_loses_the_fields_that_the_older_release_does_not_know_and_nothing_else(
    it: Installation,
) -> None:
    it.install(OLD, NEW, field=True)
    it.apply(NEW, owner="ann", emphasis="strong")
    it.apply(NEW, "second", owner="bob")
    with pytest.raises(KubectlError, match=r"storedVersions"):
        it.install(NEW, field=True)
    it.install(OLD, field=False)
    assert it.spec(OLD) == {"features": ["delays:delay"], "owner": "ann"}
    assert it.spec(OLD, "second") == {"features": ["delays:delay"], "owner": "bob"}


def test_the_older_version_goes_once_every_object_is_written_in_the_newer(it: Installation) -> None:
    it.install(OLD, NEW, field=True)
    it.install(NEW, OLD, field=True)
    assert it.crd()["status"]["storedVersions"] == [OLD, NEW]
    with pytest.raises(KubectlError, match=r"storedVersions"):
        it.install(NEW, field=True)
    kind = f"{PLURAL}.{NEW}.{GROUP}"
    every = it.plane.kubectl("get", kind, "-A", "-o", "json")
    it.plane.kubectl("replace", "-f", "-", stdin=every)
    stored = {"status": {"storedVersions": [NEW]}}
    it.plane.kubectl(
        "patch",
        "crd",
        f"{PLURAL}.{GROUP}",
        "--subresource=status",
        "--type=merge",
        f"-p={json.dumps(stored)}",
    )
    it.install(NEW, field=True)
    assert it.spec(NEW) == {"features": ["delays:delay"], "owner": "ann"}


def test_all_versions_of_a_kind_have_one_schema() -> None:
    for kind in defined():
        first, second = definition(kind, (NEW, OLD))["spec"]["versions"]
        assert (first.pop("name"), first.pop("storage")) == (NEW, True)
        assert (second.pop("name"), second.pop("storage")) == (OLD, False)
        assert first == second
