"""What a URI in a resource may be, and where relative paths begin."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from featurestore.errors import SpecError
from featurestore.redaction import (
    CONTAINER_PATTERN,
    PASSWORD_PATTERN,
    QUERY_PATTERN,
    USER_PATTERN,
    has_credentials,
)
from featurestore.resources.rule import SpecRule

_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:(//|:)")
_LOCAL = re.compile(r"^file://")
_ALLOWED = r"^(file|s3|s3a|gs|gcs|az|abfs|abfss|http|https)://"
_SCHEME = r"^[A-Za-z][A-Za-z0-9+.-]*:(//|:)"
_MAGIC = re.compile(r"[*?[]")
FILE_ROOTS = "FEATURESTORE_FILE_ROOTS"
"""Environment variable: folders, with ``:`` between, that sources outside of the project may lie in."""

NO_CREDENTIALS = SpecRule(
    message="credentials stand in a Secret (secretRef) or in the environment, never in a URL; "
    "an @ in a path after a port is written %40",
    holds=lambda value: not has_credentials(value.uri),
    cel=f"!self.uri.matches(r'{PASSWORD_PATTERN}') && !self.uri.matches(r'{QUERY_PATTERN}') && "
    f"(!self.uri.matches(r'{USER_PATTERN}') || self.uri.matches(r'{CONTAINER_PATTERN}'))",
    field="uri",
)


def _is_chain(value: Any) -> bool:
    return "::" in value.uri and not value.uri.startswith("/")


NO_CHAIN = SpecRule(
    message="a URL is not chained with '::': unpack what is in an archive, or name the files themselves",
    holds=lambda value: not _is_chain(value),
    cel="!self.uri.contains('::') || self.uri.startsWith('/')",
    field="uri",
)
SOURCE_PROTOCOL = SpecRule(
    message="a source is a path, or a URL that begins with s3://, gs://, az://, abfss://, http:// or https://",
    # A chain has a message of its own.
    holds=lambda value: (
        _is_chain(value) or not re.match(_SCHEME, value.uri) or bool(re.match(_ALLOWED, value.uri))
    ),
    cel=f"self.uri.contains('::') || !self.uri.matches(r'{_SCHEME}') || self.uri.matches(r'{_ALLOWED}')",
    field="uri",
)


def check_source_folder(uri: str, project: Path, environ: Mapping[str, str], where: str) -> None:
    """Raises SpecError unless a local source lies in the project's folder or in a root that was named.

    Whoever may write a pipeline could otherwise read any file that the runner can.
    """
    if re.match(_SCHEME, uri) and not _LOCAL.match(uri):
        return
    text = _LOCAL.sub("", uri)
    path = resolve_uri(text, project)
    # The project's own folder is not a pattern, whatever its name.
    below = is_relative(uri) and not os.path.normpath(text).startswith(("..", "~"))
    wildcard = _MAGIC.search(path, len(os.path.abspath(project)) if below else 0)
    fixed = Path(path[: wildcard.start()].rpartition("/")[0] if wildcard else path)
    roots = [project, *(Path(root) for root in environ.get(FILE_ROOTS, "").split(os.pathsep) if root)]
    if not any(
        fixed.is_relative_to(root) or fixed.resolve().is_relative_to(root.resolve()) for root in roots
    ):
        raise SpecError(
            "the source is outside of the project",
            where=where,
            wanted=f"a path in {project}, or in a folder that {FILE_ROOTS} names",
            got=repr(uri),
            hint=f"{FILE_ROOTS}={fixed} allows it",
        )


def resolve_uri(text: str, base: Path | str) -> str:
    """The URI as it stands or, if it is a relative path, the path below ``base``: the folder of its file.

    Resources keep the text as it was written, so that a project can be moved as a whole.

    >>> resolve_uri("data/raw/*.csv", "/srv/project"), resolve_uri("s3://raw/*.csv", "/srv/project")
    ('/srv/project/data/raw/*.csv', 's3://raw/*.csv')
    """
    if _URL.match(text):
        return text
    return os.path.normpath(os.path.join(os.path.abspath(base), os.path.expanduser(text)))


def locate(uri: str, base: str | None) -> str:
    """Where the file of an arrival is: the ledger knows files of relative sources by their path below the project.

    >>> locate("raw/a.csv", "/srv/project"), locate("/srv/raw/a.csv", "/"), locate("s3://raw/a.csv", "/srv")
    ('/srv/project/raw/a.csv', '/srv/raw/a.csv', 's3://raw/a.csv')
    """
    return uri if "://" in uri or uri.startswith("/") else os.path.normpath(os.path.join(base or "", uri))


def table_uri(text: str) -> str:
    """What a table is known by.

    >>> table_uri("s3://lake/orders/"), table_uri("./orders")
    ('s3://lake/orders', 'orders')
    """
    return text.rstrip("/") if "://" in text else os.path.normpath(text)


def is_relative(text: str) -> bool:
    """Whether the URI names another place for each process: by its folder, or by its user's home.

    >>> is_relative("data/raw/*.csv"), is_relative("/srv/raw/*.csv"), is_relative("s3://raw/*.csv")
    (True, False, False)
    """
    path = _LOCAL.sub("", text)
    return not (path.startswith("/") or _URL.match(path))
