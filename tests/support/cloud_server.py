"""Servers of Azure's and of Google's object storage: Azurite, and fake-gcs-server behind ``tests/cluster/gcs``."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from urllib.parse import urlencode

from cluster.binaries import built, installed
from server import free_port, serving

ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Of the one account that each Azurite has."""


@contextmanager
def azure(folder: Path, *containers: str) -> Iterator[dict[str, str]]:
    """An Azurite with these containers: the environment that points obstore, delta-rs and Polars at it.

    In its emulator mode only: else delta-rs lists from a name on, which Azurite does not know.

    Raises:
        MissingError: it was not installed.
    """
    port = free_port()
    command = [installed("node"), built("node_modules/.bin/azurite-blob"), "--blobHost", "127.0.0.1"]
    command += ["--blobPort", port, "--location", folder, "--silent", "--skipApiVersionCheck"]
    with serving([*command, "--disableTelemetry"], port, folder.with_suffix(".log")):
        url = f"http://127.0.0.1:{port}"
        for container in containers:
            put_blob(url, f"/{container}", restype="container")
        yield {"AZURE_STORAGE_USE_EMULATOR": "true", "AZURITE_BLOB_STORAGE_URL": url}


def put_blob(url: str, path: str, data: bytes = b"", **query: str) -> None:
    """A blob, or what the query says, by hand: also of names that no library writes."""
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    if not query:
        headers["x-ms-blob-type"] = "BlockBlob"
    kind = "application/octet-stream"
    length = str(len(data) or "")
    signed = [
        *("PUT", "", "", length, "", kind, "", "", "", "", "", ""),
        *(f"{name}:{value}" for name, value in sorted(headers.items())),
        f"/{ACCOUNT}/{ACCOUNT}{path}" + "".join(f"\n{name}:{value}" for name, value in sorted(query.items())),
    ]
    headers |= {
        "Authorization": f"SharedKey {ACCOUNT}:{_signature(signed)}",
        "Content-Type": kind,
    }
    suffix = "?" + "&".join(f"{name}={value}" for name, value in query.items()) if query else ""
    _request("PUT", f"{url}/{ACCOUNT}{path}{suffix}", data, headers)


def sas_token() -> str:
    """A shared access signature for all that is in the account, as the portal shows it."""
    fields = {"sp": "rwdlac", "ss": "b", "srt": "sco", "st": "", "se": "2099-01-01T00:00:00Z", "sip": ""}
    fields |= {"spr": "https,http", "sv": "2021-08-06", "ses": ""}
    signature = _signature([ACCOUNT, *fields.values(), ""])
    return "?" + urlencode({name: text for name, text in fields.items() if text} | {"sig": signature})


def _signature(lines: list[str]) -> str:
    code = hmac.new(base64.b64decode(ACCOUNT_KEY), "\n".join(lines).encode(), hashlib.sha256).digest()
    return base64.b64encode(code).decode()


@contextmanager
def gcs(folder: Path, *buckets: str) -> Iterator[dict[str, str]]:
    """A server of Cloud Storage with these buckets: the environment that points obstore, delta-rs and Polars at it.

    It asks for no credentials.

    Raises:
        MissingError: it was not built.
    """
    port = free_port()
    with serving([built("gcs"), f"127.0.0.1:{port}"], port, folder.with_suffix(".log")):
        url = f"http://127.0.0.1:{port}"
        for bucket in buckets:
            body = json.dumps({"name": bucket}).encode()
            _request("POST", f"{url}/storage/v1/b?project=tests", body, {"Content-Type": "application/json"})
        key: dict[str, str | bool] = dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
        key |= {"gcs_base_url": url, "disable_oauth": True}
        yield {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(key)}


def put_object(url: str, path: str, data: bytes = b"") -> None:
    """An object by hand: also of names that no library writes."""
    _request("PUT", f"{url}{path}", data, {"Content-Type": "application/octet-stream"})


def _request(method: str, url: str, data: bytes, headers: dict[str, str]) -> None:
    urllib.request.urlopen(
        urllib.request.Request(url, data=data, method=method, headers=headers), timeout=60
    ).close()
