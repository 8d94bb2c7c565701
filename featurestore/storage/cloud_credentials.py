"""Credentials of Azure's and Google's object storage, under the names of object_store: the Rust core that obstore, delta-rs
and Polars share.

Without a Secret these find by themselves what the process's environment names, a workload identity among it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from featurestore.errors import StorageError

ACCOUNT, ACCOUNT_KEY = "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"
SAS_TOKEN, AZURE_ENDPOINT = "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_ENDPOINT"
EMULATOR, ALLOW_HTTP_AZURE = "AZURE_STORAGE_USE_EMULATOR", "azure_allow_http"
SERVICE_ACCOUNT = "GOOGLE_SERVICE_ACCOUNT_KEY"
"""The JSON of a service account's key; ``GOOGLE_SERVICE_ACCOUNT`` would be the path of a file that has it."""
CLOUD_PREFIXES = ("AZURE_", "AZURITE_", "GOOGLE_")
"""What variables begin with that these libraries read."""


def is_azure(url: str) -> bool:
    return url.startswith(("az://", "abfs://", "abfss://"))


def is_google(url: str) -> bool:
    return url.startswith(("gs://", "gcs://"))


def azure_options(environ: Mapping[str, str], where: str) -> dict[str, str]:
    """Options of object_store. ``where``: what the credentials are for, for the message.

    >>> azure_options({"AZURE_STORAGE_ACCOUNT_NAME": "acme", "AZURE_STORAGE_SAS_TOKEN": "sig"}, "az://raw")["azure_storage_endpoint"]
    'https://acme.blob.core.windows.net'

    https://docs.rs/object_store/latest/object_store/azure/enum.AzureConfigKey.html

    Raises:
        StorageError: the account, or what opens it, is not named, or its key is none.
    """
    if _is_true(environ.get(EMULATOR)):
        return {"azure_storage_use_emulator": "true"}
    if not environ.get(ACCOUNT):
        raise _incomplete(environ, where, ACCOUNT)
    account = environ[ACCOUNT]
    endpoint = environ.get(AZURE_ENDPOINT) or f"https://{account}.blob.core.windows.net"
    options = {
        # Each takes the place of what the process's environment may say.
        "azure_storage_account_name": account,
        "azure_storage_use_emulator": "false",
        "azure_storage_endpoint": endpoint,
    }
    if endpoint.startswith("http://"):
        options[ALLOW_HTTP_AZURE] = "true"
    if environ.get(ACCOUNT_KEY):
        _require_key(environ[ACCOUNT_KEY], where)
        return {**options, "azure_storage_account_key": environ[ACCOUNT_KEY]}
    if environ.get(SAS_TOKEN):
        return {**options, "azure_storage_sas_token": _query(environ[SAS_TOKEN])}
    raise _incomplete(environ, where, f"{ACCOUNT_KEY} or {SAS_TOKEN}")


def azure_provider(environ: Mapping[str, str]) -> dict[str, Any]:
    """The argument of obstore by which an identity that the process has is not taken instead: it goes before all others."""
    if _is_true(environ.get(EMULATOR)):
        return {}
    key, token = environ.get(ACCOUNT_KEY), environ.get(SAS_TOKEN, "")
    credential = {"access_key": key} if key else {"sas_token": _query(token)}
    return {"credential_provider": lambda: {**credential, "expires_at": None}}


def google_options(environ: Mapping[str, str], where: str) -> dict[str, str]:
    """Options of object_store. ``where``: what the credentials are for, for the message.

    Raises:
        StorageError: the service account is not named.
    """
    if not environ.get(SERVICE_ACCOUNT):
        raise _incomplete(environ, where, SERVICE_ACCOUNT)
    return {"google_service_account_key": environ[SERVICE_ACCOUNT]}


def _query(token: str) -> str:
    """A signature without the question mark that Azure's portal shows before it."""
    return token.strip().removeprefix("?")


def _require_key(text: str, where: str) -> None:
    try:
        base64.b64decode(text, validate=True)
    except ValueError as error:
        raise StorageError(
            "the account's key cannot be read",
            where=where,
            wanted=f"{ACCOUNT_KEY} in base64, as Azure shows it",
            got=f"{len(text)} characters: {error}",
            hint="Copy it into the Secret anew, without spaces or line breaks",
        ) from error


def _incomplete(environ: Mapping[str, str], where: str, wanted: str) -> StorageError:
    return StorageError(
        "the credentials are incomplete",
        where=where,
        wanted=wanted,
        got=", ".join(sorted(environ)) or "nothing",
        hint=f"Add {wanted} to the Secret",
    )


def _is_true(text: str | None) -> bool:
    return (text or "").strip().lower() in ("1", "true", "yes", "on")
