"""The certificate of the webhook: made here, kept in a Secret that all replicas share, renewed long before it ends.

No key of an authority is kept: each certificate has an authority of its own, whose key is forgotten once it has
signed. The API server is told of the authority before as well, for as long as its certificate could be served.

If cert-manager keeps the Secret, it is only read.

The path of reviews is a secret, too, which stands in the webhook's configuration alone: what reviews tell of datasets and
names is for the API server, and no network policy knows everywhere which address is its.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from featurestore.errors import Conflict, NotFound
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.api_resources import SECRET, WEBHOOK_CONFIGURATION

SERVICE = "featurestore-operator-webhook"
SECRET_NAME = SERVICE
CONFIGURATION = "featurestore-operator"
VALID = timedelta(days=90)
RENEWED = timedelta(days=30)
"""How long before its end a certificate is renewed."""
_AUTHORITY, _CERTIFICATE, _KEY = "ca.crt", "tls.crt", "tls.key"
PATH = "/review"
_FOREIGN = "cert-manager.io/certificate-name"
# Clocks of other machines may be behind.
_LEEWAY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ServingCertificate:
    """All PEM. ``authority``: the certificates that make clients trust ``certificate``, and the ones before it.

    ``path``: where the API server asks for reviews; "" if it was not told yet.
    """

    authority: bytes
    certificate: bytes
    key: bytes
    path: str = ""


def host(namespace: str) -> str:
    """The name by which the API server calls the webhook.

    >>> host("featurestore-system")
    'featurestore-operator-webhook.featurestore-system.svc'
    """
    return f"{SERVICE}.{namespace}.svc"


def make(name: str, now: datetime, before: bytes = b"") -> ServingCertificate:
    """A new certificate for the host ``name``. ``before``: the authorities that are trusted now."""
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    usage = {
        "content_commitment": False,
        "key_encipherment": False,
        "data_encipherment": False,
        "key_agreement": False,
        "encipher_only": False,
        "decipher_only": False,
    }
    signing = x509.KeyUsage(digital_signature=False, key_cert_sign=True, crl_sign=True, **usage)
    serving = x509.KeyUsage(digital_signature=True, key_cert_sign=False, crl_sign=False, **usage)
    issuer = _named(f"{SERVICE} {now:%Y-%m-%dT%H:%M:%SZ}")
    identifier = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    authority = (
        _template(issuer, issuer, authority_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(signing, critical=True)
        .add_extension(identifier, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    certificate = (
        _template(_named(SERVICE), issuer, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(serving, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
        )
        .sign(authority_key, hashes.SHA256())
    )
    trusted = [each for each in _certificates(before) if each.not_valid_after_utc > now]
    return ServingCertificate(
        b"".join(map(_pem, (authority, *trusted))),
        _pem(certificate),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def is_due(serving: ServingCertificate, name: str, now: datetime) -> bool:
    """Whether a new certificate is needed: the old one expires soon, is for another host, or is damaged."""
    try:
        certificate = x509.load_pem_x509_certificate(serving.certificate)
        key = serialization.load_pem_private_key(serving.key, None)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        certificate.verify_directly_issued_by(_certificates(serving.authority)[0])
    except (ValueError, TypeError, IndexError, InvalidSignature, x509.ExtensionNotFound):
        return True
    return (
        key.public_key() != certificate.public_key()
        or name not in names.get_values_for_type(x509.DNSName)
        or certificate.not_valid_after_utc - RENEWED <= now
    )


def keep(api: Api, namespace: str, now: datetime) -> ServingCertificate:
    """What to serve with, from now until this is called again: made or renewed if necessary, and registered with the API server.

    Replicas may call it at the same time: all get the same.

    Raises:
        NotFound: there is no configuration of the webhook.
        FeatureStoreError: the API server refused, or did not answer.
    """
    secret = _stored_secret(api, namespace)
    if secret is not None and _FOREIGN in (secret["metadata"].get("annotations") or {}):
        return replace(_read(secret), path=_tell(api, None))
    serving = None if secret is None else _read(secret)
    if serving is None or is_due(serving, host(namespace), now):
        serving = make(host(namespace), now, serving.authority if serving else b"")
        try:
            if secret is None:
                api.create(SECRET, _secret(serving, {"namespace": namespace, "name": SECRET_NAME}))
            else:
                api.replace(SECRET, {**secret, **_secret(serving, secret["metadata"])})
        except Conflict:
            # Another replica was first.
            serving = _read(api.get(SECRET, namespace, SECRET_NAME))
    return replace(serving, path=_tell(api, serving.authority))


def _tell(api: Api, authority: bytes | None) -> str:
    """The path of reviews. Make the API server ask there, and trust certificates of this authority; None: leave that alone.

    Writes nothing if it does already. Of replicas that make up a path at once the last one is right: the others are asked at
    a path that they do not know, and look here again.
    """
    bundle = None if authority is None else base64.b64encode(authority).decode()
    configuration = api.get(WEBHOOK_CONFIGURATION, "", CONFIGURATION)
    clients = [(each["name"], each["clientConfig"]) for each in configuration.get("webhooks") or []]
    if not clients:
        return ""
    paths = {(client.get("service") or {}).get("path") or "" for _, client in clients}
    is_kept = len(paths) == 1 and is_secret(*paths)
    path = paths.pop() if is_kept else f"{PATH}/{secrets.token_hex(32)}"
    if is_kept and (bundle is None or all(client.get("caBundle") == bundle for _, client in clients)):
        return path
    trusted = {} if bundle is None else {"caBundle": bundle}
    change = [{"name": name, "clientConfig": {**trusted, "service": {"path": path}}} for name, _ in clients]
    api.apply(
        WEBHOOK_CONFIGURATION, {"metadata": {"namespace": "", "name": CONFIGURATION}, "webhooks": change}
    )
    return path


def is_secret(path: str) -> bool:
    """Whether nobody guesses it.

    >>> is_secret("/review"), is_secret("/review/" + "0" * 64)
    (False, True)
    """
    return re.fullmatch(rf"{PATH}/[0-9a-f]{{64}}", path) is not None


def _stored_secret(api: Api, namespace: str) -> dict[str, Any] | None:
    try:
        return api.get(SECRET, namespace, SECRET_NAME)
    except NotFound:
        return None


def _read(secret: Mapping[str, Any]) -> ServingCertificate:
    data = secret.get("data") or {}
    authority, certificate, key = (
        base64.b64decode(data.get(name, "")) for name in (_AUTHORITY, _CERTIFICATE, _KEY)
    )
    return ServingCertificate(authority, certificate, key)


def _secret(serving: ServingCertificate, metadata: Mapping[str, Any]) -> dict[str, Any]:
    data = {_AUTHORITY: serving.authority, _CERTIFICATE: serving.certificate, _KEY: serving.key}
    return {
        "apiVersion": SECRET.api_version,
        "kind": SECRET.kind,
        "metadata": dict(metadata),
        # The type that cert-manager wants, should it take over: types never change.
        "type": "kubernetes.io/tls",
        "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
    }


def _certificates(pem: bytes) -> Sequence[x509.Certificate]:
    """Those in the text, in order.

    Raises:
        ValueError: it is something else.
    """
    return x509.load_pem_x509_certificates(pem) if pem.strip() else []


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _template(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    start = now.astimezone(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - _LEEWAY)
        .not_valid_after(start + VALID)
    )
