"""Which kind of source a spec asks for: the one place that knows them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from featurestore.arrivals.files.file_source import FileSource
from featurestore.arrivals.source import ArrivalSource
from featurestore.resources.data_pipeline import Source


class SourceKind(NamedTuple):
    """``serves``: whether a spec is of this kind. ``open``: makes its source, without looking at it yet."""

    serves: Callable[[Source], bool]
    open: Callable[[Source, str | None, Mapping[str, str] | None], ArrivalSource]


SOURCE_KINDS = (SourceKind(lambda source: True, FileSource),)
"""The first that serves is taken."""


def open_source(
    source: Source, base: str | None = None, environ: Mapping[str, str] | None = None
) -> ArrivalSource:
    """The source that a spec names.

    ``base``: what relative paths are relative to; None for the working folder. ``environ``: has the credentials;
    None for the process's own environment.
    """
    kind = next(kind for kind in SOURCE_KINDS if kind.serves(source))
    return kind.open(source, base, environ)
