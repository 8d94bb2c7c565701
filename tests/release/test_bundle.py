"""The bundle for OLM says what chart and definitions say; whether OLM takes it, its validators judge in `make release-check`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.binaries import MissingError
from installation import templated
from unavailable import unavailable

from featurestore.resources.kinds import KINDS, POLICY
from release import bundle, images, publish

DIGEST = "@sha256:" + "0" * 64
PUSHED = {target: f"registry.example.org/x/{images.image(target)}{DIGEST}" for target in images.IN_CHART}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("bundle")
    values = into / "values.yaml"
    values.write_text(images.values(PUSHED))
    try:
        bundle.write(publish.templated(str(bundle.CHART), f"--values={values}"), into, PUSHED)
    except MissingError as missing:
        unavailable(missing)
    return into


@pytest.fixture(scope="module")
def version(folder: Path) -> dict[str, Any]:
    found = yaml.safe_load(
        (folder / "manifests/featurestore-operator.clusterserviceversion.yaml").read_text()
    )
    return dict(found["spec"])


def test_every_kind_is_owned_and_its_definition_is_that_of_the_chart(
    folder: Path, version: dict[str, Any]
) -> None:
    owned = {it["kind"]: it["name"].partition(".")[0] for it in version["customresourcedefinitions"]["owned"]}
    assert owned == {it.name: it.plural for it in [*KINDS.values(), POLICY]}
    for plural in owned.values():
        written = (folder / "manifests" / f"{plural}.crd.yaml").read_text()
        assert written == (bundle.CHART / "definitions" / f"{plural}.yaml").read_text()


def test_the_operator_may_do_what_the_charts_roles_say_but_what_is_for_the_webhook(
    version: dict[str, Any],
) -> None:
    found = templated()
    install = version["install"]["spec"]
    given = {str(rule) for it in install["clusterPermissions"] for rule in it["rules"]}
    roles = [
        found["ClusterRole", "", f"featurestore-operator{suffix}"]["rules"] for suffix in ("", "-cluster")
    ]
    wanted = {str(rule) for rules in roles for rule in rules}
    assert given < wanted
    assert all("validatingwebhookconfigurations" in rule for rule in wanted - given)
    own = {str(rule) for it in install["permissions"] for rule in it["rules"]}
    of_chart = found["Role", "featurestore-system", "featurestore-operator-own"]["rules"]
    assert {str(rule) for rule in of_chart} - own == {
        str(rule) for rule in of_chart if "featurestore-operator-webhook" in rule.get("resourceNames", ())
    }


def test_what_runs_is_named_by_digest(version: dict[str, Any]) -> None:
    (deployment,) = version["install"]["spec"]["deployments"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    given = {it["name"]: it.get("value") for it in container["env"]}
    assert container["image"] == PUSHED["operator"]
    assert given["FEATURESTORE_OPERATOR_JOB_IMAGE"] == PUSHED["job"]
    assert [it["image"] for it in version["relatedImages"]] == list(PUSHED.values())


def test_nothing_is_left_of_the_webhook_which_olm_would_make_its_own_way(folder: Path) -> None:
    for path in (folder / "manifests").iterdir():
        if not path.name.endswith(".crd.yaml"):
            assert "webhook" not in path.read_text(), path.name


def test_no_object_names_a_namespace_or_a_chart(folder: Path) -> None:
    for path in (folder / "manifests").iterdir():
        metadata = yaml.load(path.read_text(), yaml.CSafeLoader)["metadata"]
        assert metadata.get("namespace") in (None, "placeholder"), path.name
        assert "helm" not in json.dumps(metadata).lower().replace("helm.sh/resource-policy", ""), path.name
