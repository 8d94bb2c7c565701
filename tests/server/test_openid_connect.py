"""``--auth oidc``: whose tokens are taken, before an issuer that rotates keys and goes away, and a real API server."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.control_plane import ControlPlane
from cluster.fixtures import namespace_of
from eventually import eventually
from feature_server import FeatureServer, Response, serving_features
from joserfc.jwk import ECKey, RSAKey
from openid_issuer import AUDIENCE, OpenIdIssuer, openid_issuer

from featurestore.errors import RequestError
from featurestore.server.issuer_keys import IssuerKeys
from featurestore.server.openid_connect import OpenIdConnect
from featurestore.server.problem_details import HttpProblem

ASKED = {"features": ["aircraft-delays:delay"], "entities": {"tailnum": ["E1"]}}
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def issuer() -> Iterator[OpenIdIssuer]:
    with openid_issuer() as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def people(issuer: OpenIdIssuer, clock: Clock) -> OpenIdConnect:
    """Who has a token of the issuer."""
    return connected(issuer, clock)


def connected(issuer: OpenIdIssuer, clock: Clock, *groups: str) -> OpenIdConnect:
    return OpenIdConnect(IssuerKeys(issuer.url, None, clock), issuer.url, AUDIENCE, "groups", groups)


def status(people: OpenIdConnect, token: str) -> int:
    try:
        people.caller(token)
    except HttpProblem as problem:
        return problem.status.value
    return 200


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def unsigned(issuer: OpenIdIssuer) -> str:
    header = encoded(b'{"alg":"none","kid":"first"}')
    return f"{header}.{issuer.token().split('.')[1]}."


def signed_with_what_is_public(issuer: OpenIdIssuer) -> str:
    """By HMAC, with the issuer's public key as the secret."""
    secret = ECKey.import_key(issuer.shown[0]).as_pem(private=False)
    header = encoded(b'{"alg":"HS256","kid":"first"}')
    signed = f"{header}.{issuer.token().split('.')[1]}"
    return f"{signed}.{encoded(hmac.digest(secret, signed.encode(), 'sha256'))}"


def of_another_key(issuer: OpenIdIssuer) -> str:
    return issuer.token(key=ECKey.generate_key("P-256", {"kid": "first"}))


def changed(issuer: OpenIdIssuer) -> str:
    header, _, signature = issuer.token().split(".")
    return ".".join([header, issuer.token(sub="root").split(".")[1], signature])


def test_a_token_of_the_issuer_says_who_asks_and_in_which_groups(
    issuer: OpenIdIssuer, people: OpenIdConnect
) -> None:
    caller = people.caller(issuer.token(groups=["ml", "ops", 7], aud=["others", AUDIENCE]))
    assert (caller.name, caller.groups) == ("ann", ("ml", "ops"))
    assert people.caller(issuer.token(groups="ml")).groups == ("ml",)
    assert people.caller(issuer.token(groups={"ml": True})).groups == ()


def test_algorithms_with_a_public_key_are_taken(issuer: OpenIdIssuer, clock: Clock) -> None:
    issuer.shown.append(RSA.as_dict(private=False))
    people = connected(issuer, clock)
    for alg in ("RS256", "PS512", "ES256"):
        key = issuer.key if alg == "ES256" else RSA
        assert status(people, issuer.token(header={"alg": alg}, key=key)) == 200, alg


def test_a_token_that_the_issuer_did_not_sign_is_nobodys(issuer: OpenIdIssuer, people: OpenIdConnect) -> None:
    assert status(people, issuer.token()) == 200
    for made in (unsigned, signed_with_what_is_public, of_another_key, changed):
        assert status(people, made(issuer)) == 401, made.__name__


def test_what_is_no_token_is_nobodys(people: OpenIdConnect) -> None:
    ill = [
        "a",
        "..",
        "a.b.c",
        "é.ü.ß",
        "W10.e30.x",
        "bnVsbA.e30.x",
        "eyJhbGciOjF9.e30.x",
        "eyJhbGciOltdfQ.e30.x",
    ]
    assert {token: status(people, token) for token in ill} == dict.fromkeys(ill, 401)


def test_a_token_for_something_else_is_not_valid_here(issuer: OpenIdIssuer, people: OpenIdConnect) -> None:
    wrong: list[dict[str, object]] = [
        *({"aud": said} for said in ("others", ["others"], f"{AUDIENCE}2", None, {}, [])),
        *({"iss": said} for said in ("https://elsewhere.example", f"{issuer.url}/", None)),
        *({"exp": said} for said in (None, "never", [])),
        *({"sub": said} for said in (None, 7, "")),
        {"nbf": "soon"},
    ]
    assert [claims for claims in wrong if status(people, issuer.token(**claims)) != 401] == []


def test_a_token_is_valid_for_its_time_and_a_little_longer(
    issuer: OpenIdIssuer, people: OpenIdConnect
) -> None:
    now = int(time.time())
    assert [status(people, issuer.token(exp=now + more)) for more in (-600, -5, 600)] == [401, 200, 200]
    assert [status(people, issuer.token(nbf=now + more)) for more in (-600, 15, 600)] == [200, 200, 401]


def test_a_new_key_is_found_and_one_that_is_gone_is_not_taken(
    issuer: OpenIdIssuer, people: OpenIdConnect, clock: Clock
) -> None:
    old = issuer.token()
    issuer.rotate("second")
    clock.now_s += 10
    assert status(people, issuer.token()) == 200
    assert status(people, old) == 401


def test_keys_are_looked_at_again_now_and_then_though_all_are_known(
    issuer: OpenIdIssuer, people: OpenIdConnect, clock: Clock
) -> None:
    old = issuer.token()
    issuer.rotate("second")
    assert status(people, old) == 200
    clock.now_s += 600
    eventually(lambda: status(people, old) == 401, 60)


def test_tokens_of_unknown_keys_do_not_each_ask_the_issuer(
    issuer: OpenIdIssuer, people: OpenIdConnect, clock: Clock
) -> None:
    stranger = ECKey.generate_key("P-256", {"kid": "stranger"})
    clock.now_s += 10
    assert [status(people, issuer.token(key=stranger)) for _ in range(20)] == [401] * 20
    assert issuer.looks == 2


def test_while_the_issuer_is_away_known_keys_count_and_others_are_not_called_wrong(
    issuer: OpenIdIssuer, people: OpenIdConnect, clock: Clock
) -> None:
    known, issuer.is_away = issuer.token(), True
    issuer.rotate("second")
    clock.now_s += 10
    assert status(people, issuer.token()) == 503
    assert status(people, known) == 200
    issuer.is_away = False
    clock.now_s += 10
    assert status(people, issuer.token()) == 200


@pytest.mark.parametrize(
    "wrong", [{"issuer": "https://elsewhere.example"}, {"jwks_uri": "file:///etc/passwd"}, {"jwks_uri": None}]
)
def test_keys_are_not_taken_from_another_issuer_or_place(
    issuer: OpenIdIssuer, clock: Clock, wrong: dict[str, object]
) -> None:
    issuer.changed = wrong
    assert status(connected(issuer, clock), issuer.token()) == 503


def test_keys_that_are_weak_unknown_or_for_something_else_hide_no_good_one(
    issuer: OpenIdIssuer, clock: Clock
) -> None:
    good = issuer.shown[0]
    secret = {"kty": "oct", "kid": "secret", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA"}
    encrypting = {**RSA.as_dict(private=False), "use": "enc"}
    issuer.shown = [{"kty": "new", "kid": "new"}, {"kty": "EC", "kid": "half"}, secret, encrypting, good]
    people = connected(issuer, clock)
    assert status(people, issuer.token()) == 200
    assert status(people, issuer.token(header={"kid": None})) == 200
    assert status(people, issuer.token(header={"alg": "RS256"}, key=RSA)) == 401


@pytest.mark.parametrize(
    "url", ["http://issuer.example", "issuer.example", "file:///etc/passwd", "https://["]
)
def test_an_issuer_that_anybody_on_the_way_could_be_is_refused(url: str) -> None:
    with pytest.raises(RequestError, match="cannot be trusted"):
        IssuerKeys(url, None)


@pytest.fixture(scope="module")
def guarded(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[OpenIdIssuer, FeatureServer]]:
    """A server that those in two groups may read."""
    folder = tmp_path_factory.mktemp("oidc")
    with openid_issuer() as issuer:
        issuer.is_away = True  # A server starts without it, and finds it later.
        options = ["--auth", "oidc", "--oidc-issuer", issuer.url, "--oidc-audience", AUDIENCE]
        more = [
            "--oidc-group",
            "ml",
            "--oidc-group",
            "ops",
            "--oidc-groups-claim",
            "roles",
            "--audit-log",
            str(folder / "audit"),
        ]
        no_proxy = {"no_proxy": "127.0.0.1"}
        with serving_features(project, folder / "log", *options, *more, environment=no_proxy) as server:
            yield issuer, server


def callers(audit: Path) -> list[tuple[str, int]]:
    """Who was answered what, as the audit log has it."""
    lines = map(json.loads, audit.read_text().splitlines())
    return [(line["caller"], line["status"]) for line in lines]


def ask(server: FeatureServer, token: str) -> Response:
    return server.ask("POST", "/v1/features", ASKED, {"Authorization": f"Bearer {token}"})


def test_people_of_a_group_read_and_nothing_of_a_token_is_written(
    guarded: tuple[OpenIdIssuer, FeatureServer],
) -> None:
    issuer, server = guarded
    token, outsider = issuer.token(roles=["ops", "all"]), issuer.token(sub="bob", roles=["all"])
    away = ask(server, token)
    assert (away.status, away.headers["retry-after"]) == (503, "1")
    issuer.is_away = False
    eventually(lambda: ask(server, token).status == 200, 120)
    assert ask(server, outsider).status == 403
    for nobody in (issuer.token(roles=["ops"], aud="others"), of_another_key(issuer), "a.b.c"):
        answer = ask(server, nobody)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    audit = server.log.parent / "audit"
    assert ("ann", 200) in callers(audit)
    written = audit.read_text() + server.log.read_text()
    for part in (*token.split("."), *outsider.split(".")):
        assert part not in written


def test_an_api_server_is_an_issuer_whose_service_accounts_read(
    control_plane: ControlPlane, project: Path, tmp_path: Path
) -> None:
    options = ["--auth", "oidc", "--oidc-issuer", control_plane.url, "--oidc-audience", control_plane.url]
    with namespace_of(control_plane) as namespace:
        # Whoever is not logged in may look at the keys, as clusters that are issuers for others let them.
        discovery = "--clusterrole=system:service-account-issuer-discovery"
        binding = f"discovery-{namespace}"
        control_plane.kubectl(
            "create", "clusterrolebinding", binding, discovery, "--group=system:unauthenticated"
        )
        control_plane.kubectl("-n", namespace, "create", "serviceaccount", "model")
        config = json.loads(control_plane.kubeconfig_of_service_account(namespace, "model").read_text())
        token = config["users"][0]["user"]["token"]
        more = ["--oidc-ca", str(control_plane.ca), "--audit-log", str(tmp_path / "audit")]
        no_proxy = {"no_proxy": "127.0.0.1"}
        with serving_features(project, tmp_path / "log", *options, *more, environment=no_proxy) as server:
            eventually(lambda: ask(server, token).status == 200, 120)
            assert ask(server, f"{token[:-8]}AAAAAAAA").status == 401
        control_plane.kubectl("delete", "clusterrolebinding", binding)
    assert (f"system:serviceaccount:{namespace}:model", 200) in callers(tmp_path / "audit")
