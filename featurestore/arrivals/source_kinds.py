"""Which kind of source a spec asks for: the one place that knows them all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from featurestore.arrivals.files.file_source import FileSource
from featurestore.arrivals.source import ArrivalSource
from featurestore.resources.data_pipeline import Source


class OpenSource(Protocol):
    """Makes a source of its spec, without looking at it yet."""

    def __call__(
        self, source: Source, base: str | None, environ: Mapping[str, str] | None, /
    ) -> ArrivalSource: ...


SOURCE_KINDS: dict[str, OpenSource] = {}
"""Scheme of a source's URI to what opens it. All other schemes are files."""


def open_source(
    source: Source, base: str | None = None, environ: Mapping[str, str] | None = None
) -> ArrivalSource:
    """The source that a spec names.

    ``base``: what relative paths are relative to; None for the working folder. ``environ``: has the credentials;
    None for the process's own environment.
    """
    scheme, separator, _ = source.uri.partition("://")
    opened: OpenSource = SOURCE_KINDS.get(scheme, FileSource) if separator else FileSource
    return opened(source, base, environ)
