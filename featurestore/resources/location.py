"""Where relative paths in resources begin."""

from __future__ import annotations

import os
import re
from pathlib import Path

_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:(//|:)")
_LOCAL = re.compile(r"^(file|local)://")


def resolve_uri(text: str, base: Path | str) -> str:
    """The URI as it stands or, if it is a relative path, the path below ``base``: the folder of its file.

    Resources keep the text as it was written, so that a project can be moved as a whole.

    >>> resolve_uri("data/raw/*.csv", "/srv/project"), resolve_uri("s3://raw/*.csv", "/srv/project")
    ('/srv/project/data/raw/*.csv', 's3://raw/*.csv')
    """
    if _URL.match(text):
        return text
    return os.path.normpath(os.path.join(os.path.abspath(base), os.path.expanduser(text)))


def is_relative(text: str) -> bool:
    """Whether the URI names another place for each process: by its folder, or by its user's home.

    >>> is_relative("data/raw/*.csv"), is_relative("/srv/raw/*.csv"), is_relative("s3://raw/*.csv")
    (True, False, False)
    """
    # Of a chain, such as zip://*.csv::s3://raw/all.zip, the last one says where it is.
    path = text if text.startswith("/") else _LOCAL.sub("", text.rpartition("::")[2])
    return not (path.startswith("/") or _URL.match(path))
