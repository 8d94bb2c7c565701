"""Which local files may have arrived just now. A hint makes it fast; the listing makes it true."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from threading import Event

from featurestore.arrivals.files.glob import Pattern
from featurestore.arrivals.files.listing import local_files
from featurestore.errors import StorageError
from featurestore.resources.data_pipeline import Source

logger = logging.getLogger(__name__)
# Changes that come within STEP_MS are told together, but none waits for longer than DEBOUNCE_MS.
STEP_MS = 20
DEBOUNCE_MS = 100
_ABSENT_FOLDER_S = 1.0


def watch(source: Source, base: str | None, stop: Event) -> Iterator[frozenset[str]]:
    """URIs of files that came or changed, as it happens, until ``stop`` is set. Run it in a thread.

    Ends at once where nothing gives hints: in object storage, or without ``watchfiles``. Hints may be lost,
    repeated, or name files that are gone.
    """
    pattern = Pattern.of(source, base)
    if not pattern.is_local or importlib.util.find_spec("watchfiles") is None:
        return
    import watchfiles

    while not stop.is_set():
        if not os.path.isdir(pattern.folder or "/"):
            stop.wait(_ABSENT_FOLDER_S)
            continue
        try:
            for changes in watchfiles.watch(
                pattern.folder or "/",
                watch_filter=None,
                step=STEP_MS,
                debounce=DEBOUNCE_MS,
                stop_event=stop,
                raise_interrupt=False,
                ignore_permission_denied=True,
                recursive=len(pattern.rest) > 1,
            ):
                paths = {path for change, path in changes if change is not watchfiles.Change.deleted}
                if changed := frozenset(_files(pattern, paths)):
                    yield changed
                if not os.path.isdir(pattern.folder or "/"):
                    break
        except (OSError, RuntimeError) as error:
            # Too many folders to watch, or what watchfiles raises of its own.
            logger.warning("no hints for %s, files are found by listing alone: %s", pattern.folder, error)
            return


def watch_folder(folder: str, suffixes: tuple[str, ...], uri: str, stop: Event) -> Iterator[frozenset[str]]:
    """The URI of a table, whenever a file with such an end was written in this folder of it; as :func:`watch` otherwise."""
    folder = folder.removeprefix("file://")
    if "://" in folder or importlib.util.find_spec("watchfiles") is None:
        return
    import watchfiles

    while not stop.is_set():
        if not os.path.isdir(folder):
            stop.wait(_ABSENT_FOLDER_S)
            continue
        for changes in watchfiles.watch(
            folder,
            watch_filter=lambda change, path: path.endswith(suffixes),
            step=STEP_MS,
            debounce=DEBOUNCE_MS,
            stop_event=stop,
            raise_interrupt=False,
            recursive=False,
        ):
            if changes:
                yield frozenset({uri})
            if not os.path.isdir(folder):
                break


def _files(pattern: Pattern, paths: set[str]) -> Iterator[str]:
    for path in paths:
        if os.path.isdir(path):
            # A folder that was moved here, or filled before it was watched, tells only of itself. What cannot be
            # read now, the listing reports.
            with suppress(StorageError):
                if pattern.may_hold(path):
                    yield from (arrival.uri for arrival in local_files(pattern, path))
        elif pattern.matches(path):
            yield pattern.uri(path)
