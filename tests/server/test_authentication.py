"""Who may read: tokens of a file, what is written of reads, certificates that are renewed."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPSConnection
from pathlib import Path

import pytest
from eventually import eventually
from feature_server import FeatureServer, Response, serving_features

OLD, NEW = "a-token-of-yesterday", "another-token-of-today"
ASKED = {"features": ["aircraft-delays:delay"], "entities": {"tailnum": ["E1"]}}


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tokens") / "tokens"


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audit") / "audit.log"


@pytest.fixture(scope="module")
def guarded(
    project: Path, tokens: Path, audit: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FeatureServer]:
    """A server that asks for tokens."""
    tokens.write_text(f"# who\nmodel {OLD}\n")
    options = ["--auth", "token", "--token-file", str(tokens), "--audit-log", str(audit)]
    with serving_features(project, tmp_path_factory.mktemp("guarded") / "log", *options) as server:
        yield server


def ask(server: FeatureServer, token: str | None, asked: object = ASKED) -> Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return server.ask("POST", "/v1/features", asked, headers)


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer nobody's-long-token", f"Basic {OLD}", OLD])
def test_without_a_valid_token_nothing_is_answered(guarded: FeatureServer, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    for method, path in [
        ("POST", "/v1/features"),
        ("POST", "/get-online-features"),
        ("GET", "/v1/views"),
        ("GET", "/v1/services"),
    ]:
        answer = guarded.ask(method, path, ASKED if method == "POST" else None, headers)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert b"delay" not in answer.body


def test_probes_and_metrics_need_no_token(guarded: FeatureServer) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
        assert guarded.ask("GET", path).status == 200


def test_each_read_is_written_with_who_read_what_and_no_value_or_token(
    guarded: FeatureServer, audit: Path, tokens: Path
) -> None:
    tokens.write_text(f"model {OLD}\n")
    eventually(lambda: ask(guarded, OLD).status == 200, 60)
    ask(guarded, OLD, {"features": ["delay-share"], "entities": {"tailnum": ["E1"], "minutes": [1]}})
    ask(guarded, OLD, {"features": ["nothing"], "entities": {}})
    ask(guarded, None)
    text = audit.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        del line["time"]
    read = {"caller": "model", "route": "read_features", "status": 200, "entities": 1}
    assert {**read, "views": ["aircraft-delays"], "features": ["aircraft-delays:delay"]} in lines
    assert {**read, "views": ["aircraft-delays", "delay-share"], "features": ["delay-share"]} in lines
    nothing = {"views": [], "features": [], "entities": 0, "route": "read_features"}
    assert lines[-2:] == [
        {**nothing, "caller": "model", "status": 404},
        {**nothing, "caller": "anybody", "status": 401},
    ]
    assert OLD not in text
    assert "E1" not in text


def test_who_has_a_token_is_not_told_names_of_what_there_is_by_mistakes(
    guarded: FeatureServer, tokens: Path
) -> None:
    tokens.write_text(f"model {OLD}\n")
    eventually(lambda: ask(guarded, OLD).status == 200, 60)
    answer = ask(guarded, OLD, {"features": ["aircraft-delay"], "entities": {}})
    assert answer.status == 404
    assert b"aircraft-delays" not in answer.body


def test_tokens_are_exchanged_without_a_restart_and_a_broken_file_changes_nothing(
    guarded: FeatureServer, tokens: Path
) -> None:
    tokens.write_text(f"model {OLD}\n")
    eventually(lambda: ask(guarded, OLD).status == 200, 60)
    tokens.write_text("model short\n")
    eventually(lambda: ask(guarded, OLD) and "not read" in guarded.log.read_text(), 60)
    assert ask(guarded, OLD).status == 200
    tokens.write_text(f"model {NEW}\n")
    eventually(lambda: ask(guarded, NEW).status == 200, 60)
    assert ask(guarded, OLD).status == 401


def test_a_server_does_not_start_without_what_its_authentication_needs(project: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("# nobody\n")
    for options, said in [
        (["--auth", "token"], "needs a --token-file"),
        (["--auth", "token", "--token-file", "none"], "cannot be read"),
        (["--auth", "token", "--token-file", str(tmp_path / "empty")], "there are no tokens"),
        (["--token-file", "none"], "guards nothing"),
        (
            ["--auth", "oidc", "--oidc-issuer", "https://[::1]"],
            "needs an --oidc-issuer and an --oidc-audience",
        ),
        (["--auth", "kubernetes", "--api-server", "https://[::1]"], "no service account"),
    ]:
        command = [sys.executable, "-m", "featurestore.cli", "-C", str(project), "serve", "--port", "0"]
        done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=300)
        assert done.returncode == 2, done.stderr
        assert said in done.stderr


def test_a_renewed_certificate_is_used_without_a_restart(project: Path, tmp_path: Path) -> None:
    """Written over as cert tools do, or the whole folder replaced at once as Kubernetes does with a Secret."""
    secret = tmp_path / "secret"
    cert, key = secret / "tls.crt", secret / "tls.key"

    def mount(version: str) -> None:
        (secret / version).mkdir(parents=True)
        certify(version, secret / version / cert.name, secret / version / key.name)
        (secret / "..next").symlink_to(version)
        (secret / "..next").rename(secret / "..data")

    mount("..1")
    for path in (cert, key):
        path.symlink_to(f"..data/{path.name}")
    with serving_features(
        project, tmp_path / "log", "--tls-cert", str(cert), "--tls-key", str(key), tls=True
    ) as server:
        assert presented(server.port) == ssl.PEM_cert_to_DER_cert(cert.read_text())
        for renew in (lambda: certify("other", cert, key), lambda: mount("..2")):
            renew()
            renewed = ssl.PEM_cert_to_DER_cert(cert.read_text())
            eventually(lambda renewed=renewed: presented(server.port) == renewed, 60)


def certify(name: str, cert: Path, key: Path) -> None:
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
    ]
    command = [*made, "-subj", f"/CN={name}", "-keyout", key, "-out", cert]
    subprocess.run(command, check=True, capture_output=True)


def presented(port: int) -> bytes | None:
    """The certificate that a new connection gets, once it has answered a request."""
    connection = HTTPSConnection("127.0.0.1", port, timeout=60, context=unverified())
    try:
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        assert isinstance(connection.sock, ssl.SSLSocket)
        return connection.sock.getpeercert(binary_form=True)
    finally:
        connection.close()


def unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
