"""What docs/install.md says of Secrets, Jobs and deleting is what the code does. Its overlay, permissions: tests/install."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cluster.access import KubectlError
from cluster.control_plane import ControlPlane
from eventually import eventually

from featurestore.online.redis import connection_options
from featurestore.resources.pod_template import QUEUE_LABEL, PodTemplate
from featurestore.storage import cloud_credentials, credentials
from featurestore_operator.controllers.deletion import ABANDON
from featurestore_operator.jobs.memory import SLACK
from featurestore_operator.kube.api_resources import PIPELINE_LABEL

PAGE = (Path(__file__).parents[2] / "docs" / "install.md").read_text()
TEMPLATE = {str(field.alias) for field in PodTemplate.model_fields.values()}


def section(title: str) -> str:
    return re.split(r"^## ", PAGE.partition(f"## {title}\n")[2], flags=re.MULTILINE)[0]


def explained(plane: ControlPlane, path: str) -> str:
    """ "" until the API server has published what it knows of the kinds."""
    try:
        return plane.kubectl("explain", path)
    except KubectlError:
        return ""


def test_the_names_of_keys_in_secrets_are_those_that_are_read() -> None:
    rows = re.findall(r"^\| (`[A-Z_`, ]+`) \|", section("Secrets"), re.MULTILINE)
    named = set(re.findall(r"[A-Z_]{2,}", " ".join(rows)))
    read = {
        credentials.KEY,
        credentials.SECRET,
        credentials.TOKEN,
        connection_options.USERNAME,
        connection_options.PASSWORD,
        *(cloud_credentials.ACCOUNT, cloud_credentials.ACCOUNT_KEY, cloud_credentials.SAS_TOKEN),
        *(cloud_credentials.AZURE_ENDPOINT, cloud_credentials.EMULATOR, cloud_credentials.SERVICE_ACCOUNT),
    }
    assert named == read | {"AWS_REGION", "AWS_ENDPOINT_URL"}
    found = credentials.Credentials.of(dict.fromkeys(named, "http://it"), "a test")
    assert (found.endpoint, found.region) == ("http://it", "http://it")
    assert found.for_object_store()["aws_allow_http"] == "true", "plain http needs no other key"


def test_the_fields_of_a_job_that_are_listed_are_all_that_there_are() -> None:
    said, _, _ = section("Jobs").partition("kubectl explain")
    assert set(re.findall(r"`(\w+)`", said)) == TEMPLATE


def test_kubectl_explains_each_of_them(control_plane: ControlPlane) -> None:
    [path] = re.findall(r"`kubectl explain\s+(\S+)`", section("Jobs"))
    # kubectl goes by what it has learned of a server before, unless asked what there is now.
    control_plane.kubectl("api-resources", "--output=name")
    eventually(lambda: "FIELDS" in explained(control_plane, path))
    assert set(re.findall(r"^  (\w+)\t", explained(control_plane, path), re.MULTILINE)) == TEMPLATE
    assert "<no description>" not in explained(control_plane, path)


@pytest.mark.parametrize(
    ("title", "named"), [("Jobs", QUEUE_LABEL), ("Jobs", PIPELINE_LABEL), ("Deleting a resource", ABANDON)]
)
def test_labels_and_annotations_have_the_names_of_the_code(title: str, named: str) -> None:
    assert named in section(title)


def test_memory_is_learned_as_is_told() -> None:
    assert "a quarter more" in section("Jobs")
    assert SLACK == 1.25


def test_where_nothing_is_named_the_region_is_the_one_that_is_told() -> None:
    keys = {credentials.KEY: "a", credentials.SECRET: "b"}
    assert credentials.Credentials.of(keys, "a test").region in section("Secrets")
