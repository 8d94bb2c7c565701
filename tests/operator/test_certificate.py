"""The webhook's certificate: believed by the API server, renewed in time, one for all replicas."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.control_plane import ControlPlane
from cryptography import x509

from featurestore.errors import NotFound
from featurestore_operator.kube.access import configuration
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.api_resources import SECRET, WEBHOOK_CONFIGURATION
from featurestore_operator.metrics import Metrics
from featurestore_operator.webhook.certificate import (
    CONFIGURATION,
    RENEWED,
    SECRET_NAME,
    VALID,
    ServingCertificate,
    host,
    is_due,
    is_secret,
    keep,
    make,
)

ROOT = Path(__file__).parents[2]
# Near the machine's own time, which TLS looks at.
NOW = datetime.now(UTC).replace(microsecond=0)
NAME = host("system")


def handshake(serving: ServingCertificate, trusted: bytes, name: str, folder: Path) -> None:
    """A client that trusts these authorities and calls this name takes the certificate, as the API server does.

    Raises:
        ssl.SSLError: it does not.
    """
    (folder / "tls.pem").write_bytes(serving.certificate + serving.key)
    here = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    here.load_cert_chain(folder / "tls.pem")
    there = ssl.create_default_context(cadata=trusted.decode())
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = there.wrap_bio(to_client, to_server, server_hostname=name)
    server = here.wrap_bio(to_server, to_client, server_side=True)
    todo = [client, server]
    while todo:
        side = todo.pop(0)
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            todo.append(side)


def test_a_client_that_knows_the_authority_believes_the_certificate_for_its_host_only(tmp_path: Path) -> None:
    serving = make(NAME, NOW)
    handshake(serving, serving.authority, NAME, tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(serving, serving.authority, host("other"), tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        handshake(serving, make(NAME, NOW).authority, NAME, tmp_path)


def test_a_certificate_is_renewed_long_before_it_ends() -> None:
    serving = make(NAME, NOW)
    last = NOW + VALID - RENEWED
    assert not is_due(serving, NAME, last - timedelta(seconds=1))
    assert is_due(serving, NAME, last)


def test_the_one_before_is_believed_until_it_ends_and_then_forgotten(tmp_path: Path) -> None:
    first = make(NAME, NOW)
    second = make(NAME, NOW + VALID - RENEWED, first.authority)
    handshake(first, second.authority, NAME, tmp_path)
    third = make(NAME, NOW + 2 * (VALID - RENEWED), second.authority)
    believed = x509.load_pem_x509_certificates(third.authority)
    assert [it.not_valid_after_utc for it in believed] == [
        NOW + 2 * (VALID - RENEWED) + VALID,
        NOW + VALID - RENEWED + VALID,
    ]


@pytest.mark.parametrize(
    "broken",
    [
        {"certificate": b""},
        {"authority": b""},
        {"key": b"nonsense"},
        {"key": make(NAME, NOW).key},
        {"authority": make(NAME, NOW).authority},
    ],
    ids=["no certificate", "no authority", "no key", "key of another", "authority of another"],
)
def test_what_is_not_whole_is_made_anew(broken: dict[str, bytes]) -> None:
    serving = make(NAME, NOW)
    parts = {
        "authority": serving.authority,
        "certificate": serving.certificate,
        "key": serving.key,
    }
    assert is_due(ServingCertificate(**{**parts, **broken}), NAME, NOW)
    assert is_due(serving, host("other"), NOW)
    assert not is_due(ServingCertificate(**parts), NAME, NOW)


@pytest.fixture
def api(control_plane: ControlPlane) -> Iterator[Api]:
    api = Api(configuration(str(control_plane.kubeconfig)), Metrics())
    yield api
    api.close()


@pytest.fixture
def webhook(control_plane: ControlPlane, tmp_path: Path) -> Iterator[None]:
    """The configuration as it is installed, except that it asks about nothing here."""
    installed = yaml.safe_load_all((ROOT / "operator/deploy/operator.yaml").read_text())
    [manifest] = [it for it in installed if it["kind"] == "ValidatingWebhookConfiguration"]
    for one in manifest["webhooks"]:
        one["namespaceSelector"] = {"matchLabels": {"reviewed": "never"}}
    file = tmp_path / "webhook.json"
    file.write_text(json.dumps(manifest))
    control_plane.kubectl("apply", f"--filename={file}")
    yield
    control_plane.kubectl("delete", f"--filename={file}")


def told(api: Api) -> list[bytes]:
    """The authorities that the API server believes."""
    found = api.get(WEBHOOK_CONFIGURATION, "", CONFIGURATION)
    return [base64.b64decode(it["clientConfig"]["caBundle"]) for it in found["webhooks"]]


def paths(api: Api) -> set[str]:
    """Where the API server asks for reviews."""
    found = api.get(WEBHOOK_CONFIGURATION, "", CONFIGURATION)
    return {it["clientConfig"]["service"].get("path", "") for it in found["webhooks"]}


def secret(api: Api, namespace: str) -> dict[str, Any]:
    return api.get(SECRET, namespace, SECRET_NAME)


@pytest.mark.usefixtures("webhook")
def test_the_first_replica_makes_it_and_the_others_take_it(api: Api, namespace: str) -> None:
    serving = keep(api, namespace, NOW)
    assert keep(api, namespace, NOW) == serving
    assert told(api) == [serving.authority]
    assert secret(api, namespace)["type"] == "kubernetes.io/tls"


@pytest.mark.usefixtures("webhook")
def test_the_api_server_is_told_a_path_that_nobody_guesses_and_all_replicas_know_it(
    api: Api, namespace: str
) -> None:
    serving = keep(api, namespace, NOW)
    assert is_secret(serving.path)
    assert paths(api) == {serving.path}
    assert keep(api, namespace, NOW + VALID - RENEWED).path == serving.path


@pytest.mark.usefixtures("webhook")
@pytest.mark.parametrize("path", ["/review", "/review/" + "0" * 63])
def test_a_path_that_somebody_set_and_others_may_know_is_replaced(
    api: Api, namespace: str, control_plane: ControlPlane, path: str
) -> None:
    before = keep(api, namespace, NOW).path
    change = json.dumps([{"op": "replace", "path": "/webhooks/0/clientConfig/service/path", "value": path}])
    control_plane.kubectl(
        "patch", "validatingwebhookconfigurations", CONFIGURATION, "--type=json", f"--patch={change}"
    )
    after = keep(api, namespace, NOW).path
    assert is_secret(after)
    assert after != before
    assert paths(api) == {after}


@pytest.mark.usefixtures("webhook")
@pytest.mark.parametrize("how", [[], ["--server-side"]], ids=["client-side", "server-side"])
def test_applying_what_is_installed_again_leaves_path_and_authority(
    api: Api, namespace: str, control_plane: ControlPlane, tmp_path: Path, how: list[str]
) -> None:
    manifest = tmp_path / "webhook.json"
    if how:
        # As it is installed: by the manager that applies it again.
        control_plane.kubectl("delete", f"--filename={manifest}")
        control_plane.kubectl("apply", *how, f"--filename={manifest}")
    serving = keep(api, namespace, NOW)
    control_plane.kubectl("apply", *how, f"--filename={manifest}")
    assert (paths(api), told(api)) == ({serving.path}, [serving.authority])


@pytest.mark.usefixtures("webhook")
def test_nothing_is_written_while_all_is_well(api: Api, namespace: str, control_plane: ControlPlane) -> None:
    keep(api, namespace, NOW)
    mark = control_plane.audit.mark()
    keep(api, namespace, NOW + timedelta(days=1))
    assert not [it for it in control_plane.audit.writes(since=mark) if "featurestore-operator" in it.name]


@pytest.mark.usefixtures("webhook")
def test_after_a_renewal_the_api_server_believes_both(
    api: Api, namespace: str, control_plane: ControlPlane, tmp_path: Path
) -> None:
    first = keep(api, namespace, NOW)
    mark = control_plane.audit.mark()
    second = keep(api, namespace, NOW + VALID - RENEWED)
    assert first.certificate != second.certificate
    assert ("update", "secrets") in {(it.verb, it.resource) for it in control_plane.audit.writes(since=mark)}
    [authority] = told(api)
    for serving in (first, second):
        # The second one is of the future by its own clock, but for the hour that clocks may differ.
        assert serving.authority in authority or authority in serving.authority
    handshake(first, authority, host(namespace), tmp_path)


@pytest.mark.usefixtures("webhook")
def test_a_crash_before_the_api_server_was_told_heals(
    api: Api, namespace: str, control_plane: ControlPlane
) -> None:
    serving = keep(api, namespace, NOW)
    change = json.dumps([{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}])
    control_plane.kubectl(
        "patch", "validatingwebhookconfigurations", CONFIGURATION, "--type=json", f"--patch={change}"
    )
    assert keep(api, namespace, NOW) == serving
    assert told(api) == [serving.authority]


@pytest.mark.usefixtures("webhook")
def test_a_secret_of_cert_manager_is_only_read(api: Api, namespace: str, control_plane: ControlPlane) -> None:
    given = make(host(namespace), NOW - VALID)
    data = {"ca.crt": given.authority, "tls.crt": given.certificate, "tls.key": given.key}
    api.create(
        SECRET,
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {
                "name": SECRET_NAME,
                "namespace": namespace,
                "annotations": {"cert-manager.io/certificate-name": SECRET_NAME},
            },
            "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
        },
    )
    mark = control_plane.audit.mark()
    serving = keep(api, namespace, NOW)
    assert serving == replace(given, path=serving.path)
    assert paths(api) == {serving.path}
    written = [it for it in control_plane.audit.writes(since=mark) if "featurestore-operator" in it.name]
    assert [it.resource.partition(".")[0] for it in written] == ["validatingwebhookconfigurations"]
    assert keep(api, namespace, NOW) == serving
    assert (
        len([it for it in control_plane.audit.writes(since=mark) if "featurestore-operator" in it.name]) == 1
    )


def test_without_a_configuration_of_the_webhook_that_is_said(api: Api, namespace: str) -> None:
    with pytest.raises(NotFound, match=r"no ValidatingWebhookConfiguration .* in the cluster"):
        keep(api, namespace, NOW)
