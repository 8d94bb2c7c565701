"""Credentials of the source, where they are others than those of the store.

A Job has those of its store as its environment, and those of its source beside them, under the same names with a
prefix. If there is none of these, the source is read as everything else is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

PREFIX = "FEATURESTORE_SOURCE_"
_POLARS = {
    "aws_access_key_id": ("AWS_ACCESS_KEY_ID",),
    "aws_secret_access_key": ("AWS_SECRET_ACCESS_KEY",),
    "aws_session_token": ("AWS_SESSION_TOKEN",),
    "aws_endpoint_url": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "aws_region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
}


def source_environ() -> Mapping[str, str] | None:
    """The source's own credentials, without the prefix; None if it has none."""
    own = {name.removeprefix(PREFIX): value for name, value in os.environ.items() if name.startswith(PREFIX)}
    return own or None


def polars_options() -> dict[str, str] | None:
    """The source's own credentials as Polars takes them; None if it has none."""
    own = source_environ()
    if own is None:
        return None
    found = {
        option: next((own[name] for name in names if name in own), None) for option, names in _POLARS.items()
    }
    options = {option: value for option, value in found.items() if value is not None}
    if options.get("aws_endpoint_url", "").startswith("http://"):
        options["aws_allow_http"] = "true"
    return options
