"""Credentials of object storage, for each library that opens it: here those of S3, under the names of the AWS tools.

Those of Azure and of Google, under the names of object_store, are in :mod:`featurestore.storage.cloud_credentials`.

These libraries look into the process's environment by themselves. Credentials that are given are taken as a whole
instead: what they do not name is not filled up from the environment, which has another's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from featurestore.errors import StorageError
from featurestore.storage.cloud_credentials import azure_options, google_options, is_azure, is_google

SOURCE_PREFIX = "FEATURESTORE_SOURCE_"
"""What variables begin with that have credentials of sources, beside those of the store."""
KEY, SECRET, TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_REGION = "us-east-1"  # as all of these libraries take it for granted
ALLOW_HTTP = "aws_allow_http"
_FOUND_BY_OBJECT_STORE = (
    KEY,
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_AWS_FILES = {"AWS_CONFIG_FILE": "~/.aws/config", "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials"}
"""Variables that name the files of the AWS tools, and where they are else."""
NO_CREDENTIALS = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, as for the AWS tools"


def is_s3(url: str) -> bool:
    return url.startswith(("s3://", "s3a://"))


def in_object_storage(url: str) -> bool:
    """Whether a Secret can have credentials for it, and obstore opens it.

    >>> [in_object_storage(url) for url in ("s3://raw/a", "az://raw/a", "gs://raw/a", "https://raw/a", "/raw/a")]
    [True, True, True, False, False]
    """
    return is_s3(url) or is_azure(url) or is_google(url)


def source_environ(environ: Mapping[str, str] | None = None) -> Mapping[str, str] | None:
    """The sources' own credentials, without the prefix; None if they have none: then those of the store hold.

    ``environ``: where to look; None for the process's own environment.

    >>> source_environ({"AWS_REGION": "eu-west-1", "FEATURESTORE_SOURCE_AWS_REGION": "us-east-2"})
    {'AWS_REGION': 'us-east-2'}
    """
    known = os.environ if environ is None else environ
    # Names alone: it is asked for each file, and to read the values of an environment costs more than to open a small file.
    own = {
        name.removeprefix(SOURCE_PREFIX): known[name]
        for name in list(known)
        if name.startswith(SOURCE_PREFIX)
    }
    return own or None


@dataclass(frozen=True, slots=True)
class Credentials:
    """The identity that reads and writes, and where. ``endpoint``: URL of the service; None for that of AWS."""

    key: str
    secret: str = field(repr=False)
    token: str | None = field(repr=False)
    endpoint: str | None
    region: str

    @classmethod
    def of(cls, environ: Mapping[str, str], where: str) -> Credentials:
        """The credentials that are named. ``where``: what they are for, for the message.

        Raises:
            StorageError: the keys are not named.
        """
        missing = [name for name in (KEY, SECRET) if not environ.get(name)]
        if missing:
            raise StorageError(
                "the credentials are incomplete",
                where=where,
                wanted=" and ".join(missing),
                got=", ".join(sorted(environ)) or "nothing",
                hint=f"Add {' and '.join(missing)} to the Secret",
            )
        return cls(
            environ[KEY],
            environ[SECRET],
            environ.get(TOKEN) or None,
            _first(environ, _ENDPOINTS),
            _first(environ, _REGIONS) or _REGION,
        )

    def for_s3fs(self) -> dict[str, Any]:
        """Options of s3fs. Equal options share one client, others have their own."""
        return {
            "key": self.key,
            "secret": self.secret,
            "token": self.token,
            "endpoint_url": self.endpoint,
            "client_kwargs": {"region_name": self.region},
        }

    def for_object_store(self) -> dict[str, str]:
        """Options of delta-rs. Each takes the place of what the environment may say.

        https://docs.rs/object_store/latest/object_store/aws/enum.AmazonS3ConfigKey.html
        """
        options = {"aws_access_key_id": self.key, "aws_secret_access_key": self.secret, **self.place()}
        if self.token is not None or TOKEN in os.environ:
            # There is no other way to leave out the token of the environment, which belongs to another key.
            options["aws_session_token"] = self.token or ""
        return options

    def place(self) -> dict[str, str]:
        """Where, in options of object_store: of delta-rs and of Polars."""
        endpoint = self.endpoint or f"https://s3.{self.region}.amazonaws.com"
        # Of the names that an endpoint has, this is the one that goes before all others.
        return {"aws_region": self.region, "aws_endpoint_url_s3": endpoint, **allow_http(endpoint)}


def own_keys() -> dict[str, Any]:
    """Options of s3fs for the keys in the process's own environment; {} if it has none there, but elsewhere.

    s3fs would find them by itself, but keeps clients by their options: one whose keys changed has to be another.
    """
    if not os.environ.get(KEY):
        return {}
    return {
        "key": os.environ[KEY],
        "secret": os.environ.get(SECRET),
        "token": os.environ.get(TOKEN),
        "endpoint_url": _first(os.environ, _ENDPOINTS),
    }


def profile_options(url: str) -> dict[str, Any]:
    """Options of obstore for keys that only the AWS tools' own files name, or nobody; {} if it finds keys by itself.

    Raises:
        StorageError: there are no credentials.
    """
    profile = _profile(url)
    if profile is None:
        return {}

    def credentials() -> dict[str, Any]:
        keys = profile.keys.get_frozen_credentials()
        return {
            "access_key_id": keys.access_key,
            "secret_access_key": keys.secret_key,
            "token": keys.token,
            "expires_at": getattr(profile.keys, "_expiry_time", None),
        }

    place = {"endpoint": profile.endpoint} if profile.endpoint else {}
    return {"credential_provider": credentials, "region": profile.region, **place}


def profile_credentials(url: str) -> Credentials | None:
    """What the AWS tools' own files name now; None if libraries find keys by themselves. It may expire.

    Raises:
        StorageError: there are no credentials.
    """
    profile = _profile(url)
    if profile is None:
        return None
    keys = profile.keys.get_frozen_credentials()
    return Credentials(keys.access_key, keys.secret_key, keys.token, profile.endpoint, profile.region)


@dataclass(frozen=True, slots=True)
class _Profile:
    """What the AWS tools' own files name. ``keys``: of botocore, which renews those that expire."""

    keys: Any
    endpoint: str | None
    region: str


def _profile(url: str) -> _Profile | None:
    if any(os.environ.get(name) for name in _FOUND_BY_OBJECT_STORE):
        return None
    files = [os.path.expanduser(os.environ.get(name) or file) for name, file in _AWS_FILES.items()]
    written = tuple(os.stat(file).st_mtime_ns if os.path.exists(file) else 0 for file in files)
    try:
        return _read_profile(os.environ.get("AWS_PROFILE"), tuple(files), written)
    except ImportError:
        return None
    except LookupError as error:
        raise StorageError("there are no credentials", where=url, hint=NO_CREDENTIALS) from error
    except Exception as error:
        raise StorageError("the AWS tools' files give no credentials", where=url, got=str(error)) from error


@lru_cache(maxsize=4)
def _read_profile(_name: str | None, _files: tuple[str, ...], _written: tuple[int, ...]) -> _Profile:
    """Read once, until another is named or a file is written.

    Raises:
        LookupError: nobody names credentials. They are looked for again.
    """
    from botocore.session import Session

    session = Session()
    keys = session.get_credentials()
    if keys is None:
        raise LookupError
    endpoint = _first(os.environ, _ENDPOINTS) or session.get_scoped_config().get("endpoint_url")
    region = _first(os.environ, _REGIONS) or session.get_config_variable("region") or _REGION
    return _Profile(keys, endpoint, region)


def table_options(url: str, environ: Mapping[str, str] | None) -> dict[str, str] | None:
    """As :func:`object_store_options`, for delta-rs, which does not read the files of the AWS tools.

    Raises:
        StorageError: the keys are not named.
    """
    profile = profile_credentials(url) if environ is None and is_s3(url) else None
    return object_store_options(url, environ) if profile is None else profile.for_object_store()


def object_store_options(url: str, environ: Mapping[str, str] | None) -> dict[str, str] | None:
    """Options of object_store for what is at ``url``; None if it needs none.

    ``environ``: has the credentials; None for the process's own environment, which it reads by itself.

    Raises:
        StorageError: the keys are not named.
    """
    if environ is None:
        return (allow_http(_first(os.environ, _ENDPOINTS) or "") or None) if is_s3(url) else None
    if is_azure(url):
        return azure_options(environ, url)
    if is_google(url):
        return google_options(environ, url)
    return Credentials.of(environ, url).for_object_store() if is_s3(url) else None


def allow_http(endpoint: str) -> dict[str, str]:
    """Whether plain HTTP is allowed, which delta-rs asks: an ``http://`` endpoint means it."""
    return {ALLOW_HTTP: "true"} if endpoint.startswith("http://") else {}


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((environ[name] for name in names if environ.get(name)), None)
