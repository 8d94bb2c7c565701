"""Credentials of object storage, as Polars takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from featurestore.storage.credentials import (
    Credentials,
    in_object_storage,
    is_s3,
    object_store_options,
    profile_credentials,
)


@dataclass(frozen=True, slots=True)
class _Keys:
    """Gives Polars keys, for as long as one scan takes. Two with the same keys are one to it: they are pickled the same."""

    credentials: Credentials

    def __call__(self) -> tuple[dict[str, str | None], int | None]:
        keys: dict[str, str | None] = {
            "aws_access_key_id": self.credentials.key,
            "aws_secret_access_key": self.credentials.secret,
        }
        if self.credentials.token is not None:
            keys["aws_session_token"] = self.credentials.token
        return keys, None


def access(url: str, environ: Mapping[str, str] | None) -> dict[str, Any]:
    """Arguments of a Polars scan or sink at ``url``.

    ``environ``: has the credentials; None for the process's own environment, which Polars reads by itself.

    Raises:
        StorageError: the keys are not named.
    """
    if not is_s3(url):
        # Polars would look for the packages of Azure and Google, and find none: its Rust core knows as much as delta-rs.
        options = object_store_options(url, environ)
        return {"storage_options": options, "credential_provider": None} if in_object_storage(url) else {}
    credentials = profile_credentials(url) if environ is None else Credentials.of(environ, url)
    if credentials is None:
        return {}
    # Keys among the options would be used together with a token of the environment, which is another key's.
    return {"storage_options": credentials.place(), "credential_provider": _Keys(credentials)}
