"""File systems of sources, as fsspec opens them (not Azure's and Google's), and what they and their clients raise, as ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from featurestore.errors import CodeError, NotFound, SpecError, StorageError
from featurestore.storage.bucket import bucket_of
from featurestore.storage.credentials import NO_CREDENTIALS, Credentials, in_object_storage, is_s3, own_keys
from featurestore.storage.redirects import same_server_client

# A dead endpoint fails after some 15 seconds at most: whoever asked backs off by itself and shows it.
_S3_ATTEMPTS = 2
_AHEAD_BYTES = 1 << 20
# Not all that the clients let through is an OSError: a dead endpoint, missing credentials, a broken body.
_CLIENTS = frozenset({"aiohttp", "aiobotocore", "botocore", "obstore"})
_S3_CONFIG = {
    "connect_timeout": 2,
    "read_timeout": 20,
    "retries": {"mode": "standard", "total_max_attempts": 3},
}


def filesystem(url: str, environ: Mapping[str, str] | None = None) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path in it. Nothing is cached: others write there too.

    ``environ``: has the credentials; None for the process's own environment.

    Raises:
        SpecError: no file system has such URLs.
        CodeError: the package for them is not installed.
        StorageError: ``environ`` does not name the keys.
    """
    # Most who read this module open no source, and it brings asyncio.
    import fsspec

    try:
        fs, path = fsspec.url_to_fs(url, **_options(url, environ))
    except ImportError as error:
        hint = "pip install 'featurestore[s3]'" if is_s3(url) else ""
        raise CodeError("storage needs a package", where=url, got=str(error), hint=hint) from error
    except (ValueError, TypeError) as error:
        wanted = "a path, or a URL such as s3://bucket/prefix or file:///srv/store"
        raise SpecError("not a storage location", where=url, wanted=wanted, got=str(error)) from error
    except Exception as error:
        # Each file system reads its URLs by itself, and some connect at once.
        raise unreachable("the storage location cannot be opened", url, error) from error
    if is_s3(url):
        fs.retries = _S3_ATTEMPTS
    return fs, path


def _options(url: str, environ: Mapping[str, str] | None) -> dict[str, Any]:
    if url.startswith(("http://", "https://")):
        return {"get_client": same_server_client}
    return _s3_options(url, environ) if is_s3(url) else {}


def _s3_options(url: str, environ: Mapping[str, str] | None) -> dict[str, Any]:
    # With more than one connection for an object, s3fs asks for its size before it reads it.
    options = {"use_listings_cache": False, "max_concurrency": 1, "config_kwargs": _S3_CONFIG}
    if environ is None:
        return {**options, **own_keys()}
    # An endpoint that is not named is that of AWS, wherever the environment points.
    exact = {**_S3_CONFIG, "ignore_configured_endpoint_urls": True}
    return {**options, "config_kwargs": exact, **Credentials.of(environ, url).for_s3fs()}


def open_file(url: str, environ: Mapping[str, str] | None) -> Any:
    """The file at a URL, or at a path, open for reading. Arguments and errors as of :func:`filesystem`, and FileNotFoundError."""
    if in_object_storage(url) and not is_s3(url):
        bucket, path = bucket_of(url, environ)
        return bucket.file(path, bucket.head(path)["size"], _AHEAD_BYTES)
    fs, path = filesystem(url, environ)
    return fs.open(path, "rb")


@contextmanager
def answering(problem: str, where: str) -> Iterator[None]:
    """What storage and its client raise becomes a StorageError."""
    try:
        yield
    except NotFound:
        raise
    except Exception as error:
        if not isinstance(error, OSError) and type(error).__module__.partition(".")[0] not in _CLIENTS:
            raise
        raise unreachable(problem, where, error) from error


def unreachable(problem: str, where: str, error: BaseException) -> StorageError:
    """What storage or its client raised, as a StorageError."""
    hint = NO_CREDENTIALS if type(error).__name__ == "NoCredentialsError" else ""
    return StorageError(problem, where=where, got=str(error) or type(error).__name__, hint=hint)


def require_bucket(error: FileNotFoundError) -> None:
    """Raises the error if it says that the bucket is missing: then nothing is known of what is in it."""
    if _s3_code(error) == "NoSuchBucket":
        raise error


def _s3_code(error: OSError) -> str:
    response = getattr(error.__cause__, "response", {})
    return str(response.get("Error", {}).get("Code", ""))
