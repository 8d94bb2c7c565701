"""A source's glob: which paths it names, and where to look for them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property

from fsspec.utils import glob_translate

from featurestore.errors import SpecError
from featurestore.resources.data_pipeline import Source
from featurestore.resources.location import is_relative

TEMPORARY = (
    "~",
    "._copying_",
    ".bak",
    ".crdownload",
    ".download",
    ".filepart",
    ".incomplete",
    ".inprogress",
    ".opdownload",
    ".part",
    ".partial",
    ".swp",
    ".temp",
    ".tmp",
)
_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Pattern:
    """A glob taken apart.

    ``protocol``: such as ``s3``, empty for local files. ``folder``: the fixed part, where looking begins.
    ``base``: what the URIs of its files are relative to; empty if they are absolute.
    ``rest``: the parts after it. In them ``*``, ``?`` and ``[…]`` match within a name, and ``**`` matches any
    number of folders, also none. Upper and lower case differ.

    >>> Pattern("s3", "raw/flights", ("**", "*.csv")).matches("raw/flights/2013/01/a.csv")
    True
    """

    protocol: str
    folder: str
    rest: tuple[str, ...]
    base: str = ""

    @classmethod
    def of(cls, source: Source, base: str | None = None) -> Pattern:
        """The pattern of a source. A path that is not absolute begins at ``base``, else at the working folder.

        Raises:
            SpecError: the glob is not valid.
        """
        url = (source.uri or "").removeprefix("file://")
        protocol, separator, path = url.partition("://")
        if not separator:
            protocol, path = "", os.path.abspath(os.path.join(base or "", os.path.expanduser(url)))
        parts = path.split("/")
        # The project's folder is a name: a ``[`` in it is no pattern.
        own = [part for part in os.path.normpath(url).split("/") if part != ".."]
        below = 0 if separator else len(parts) - len(own)
        fixed = next(
            (at for at, part in enumerate(parts) if at >= below and _MAGIC.search(part)), len(parts) - 1
        )
        if any("**" in part and part != "**" for part in parts):
            wanted = "'**' as a whole part of the path, as in folder/**/*.parquet"
            raise SpecError(
                "the glob is not valid", where="spec.source.uri", wanted=wanted, got=repr(source.uri)
            )
        if separator and fixed == 0:
            wanted = "a bucket and a path, as in s3://bucket/folder/*.parquet"
            raise SpecError(
                "the glob names no bucket", where="spec.source.uri", wanted=wanted, got=repr(source.uri)
            )
        relative = not separator and is_relative(url) and not url.startswith("~")
        start = os.path.abspath(base or "") if relative else ""
        return cls(protocol, "/".join(parts[:fixed]), tuple(parts[fixed:]), start)

    @property
    def is_local(self) -> bool:
        return not self.protocol

    def url(self, path: str) -> str:
        """What fsspec and Polars open."""
        return f"{self.protocol}://{path}" if self.protocol else path

    def uri(self, path: str) -> str:
        """What a file is known by: a project that is moved as a whole keeps its files."""
        return os.path.relpath(path, self.base) if self.base else self.url(path)

    def matches(self, path: str) -> bool:
        """True if the glob names this path, and it is the path of a finished file."""
        start = len(self.folder) + 1
        if path[:start] != f"{self.folder}/" or path.endswith("/"):
            return False
        below = path[start:]
        return self._regex.match(below) is not None and not any(map(self.skips, below.split("/")))

    def may_hold(self, folder: str) -> bool:
        """False if nothing in this folder below ``self.folder`` can match: it need not be opened."""
        parts = folder[len(self.folder) + 1 :].split("/")
        for part, wanted in zip(parts, self._names, strict=False):
            if wanted is None:
                break
            if not wanted.match(part):
                return False
        else:
            if len(parts) >= len(self.rest):
                return False
        return not any(map(self.skips, parts))

    def skips(self, name: str) -> bool:
        """True for a name that means "not a finished file", unless the glob spells it out."""
        return is_temporary(name) and name not in self.rest

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return re.compile(str(glob_translate("/".join(self.rest))))

    @cached_property
    def _names(self) -> list[re.Pattern[str] | None]:
        return [None if part == "**" else re.compile(str(glob_translate(part))) for part in self.rest]


def has_magic(part: str) -> bool:
    """Whether a part of a path is a pattern.

    >>> has_magic("*.csv"), has_magic("a.csv")
    (True, False)
    """
    return _MAGIC.search(part) is not None


def is_temporary(name: str) -> bool:
    """True for names of hidden, half-written and bookkeeping files and folders.

    Those that begin with ``.``; those that begin with ``_`` and have no ``=``; those that end in
    :data:`TEMPORARY`, in upper or lower case.

    >>> [is_temporary(name) for name in (".a.csv.swp", "_SUCCESS", "_day=1", "a.csv.PART", "a.csv")]
    [True, True, False, True, False]
    """
    return (
        name.startswith(".") or (name.startswith("_") and "=" not in name) or name.lower().endswith(TEMPORARY)
    )
