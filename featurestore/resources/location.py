"""Where relative paths in resources begin."""

from __future__ import annotations

import os
import re
from pathlib import Path

_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:(//|:)")


def resolve_uri(text: str, base: Path | str) -> str:
    """The URI as it stands or, if it is a relative path, the path below ``base``: the folder of its file.

    Resources keep the text as it was written, so that a project can be moved as a whole.

    >>> resolve_uri("data/raw/*.csv", "/srv/project"), resolve_uri("s3://raw/*.csv", "/srv/project")
    ('/srv/project/data/raw/*.csv', 's3://raw/*.csv')
    """
    if _URL.match(text):
        return text
    return os.path.normpath(os.path.join(os.path.abspath(base), os.path.expanduser(text)))
