"""Rows that are pushed to a pipeline: one push is one file of its source, written once however often it is sent.

The file's name is made of the idempotency key, and it is created only if it is absent. So the same push again changes
nothing, also after the file was taken, and after it was deleted: the ledger knows its name and what was in it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from featurestore.arrivals.push_name import PUSH_LENGTH, push_name
from featurestore.client.early_rows import EarlyRows
from featurestore.client.pushed_rows import checked_rows
from featurestore.errors import NotFound, RequestError, did_you_mean
from featurestore.failpoint import hit
from featurestore.online.immediate import PushedFile
from featurestore.registry.project import STORE_FILE, Project
from featurestore.resources import DataPipeline
from featurestore.resources.location import check_source_folder, locate
from featurestore.resources.metadata import NAME_PATTERN
from featurestore.storage.credentials import source_environ
from featurestore.storage.objects import Storage

MOST_KEY = 255
"""Characters of an idempotency key."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """``uri``: of the file that holds the rows. ``is_new``: False if an earlier push with this key wrote it.

    ``online``: of each view with ``write: Immediate``, "" if the rows are read from now on, else why they are read only when
    their batch is published.
    """

    uri: str
    rows: int
    is_new: bool
    online: Mapping[str, str] = field(default_factory=dict)


def push(project: Project, early: EarlyRows, pipeline: str, rows: Any, key: str) -> Pushed:
    """Write rows into the source of a pipeline, with the credentials of sources; they are durable when this returns.

    ``early``: has them read before their batch, in views that want that. ``rows``: an Arrow table, or a list of dicts.

    Raises:
        NotFound: there is no such pipeline.
        RowsRefused: the rows do not have its schema.
        RequestError: nothing is pushed to it, or the key is not one, or was used for other rows.
        SpecError: its source is outside of the project.
        StorageError: storage did not answer; whether it was written is not known, so push again with this key.
    """
    if not 0 < len(key) <= MOST_KEY or not key.isprintable():
        raise RequestError(
            "this is not an idempotency key",
            where=f"push to {pipeline!r}",
            wanted=f"1 to {MOST_KEY} printable characters that no other push has",
        )
    is_name = re.fullmatch(NAME_PATTERN, pipeline) is not None
    accepted = project.registry.current(DataPipeline, pipeline) if is_name else None
    if accepted is None:
        names = project.registry.names(DataPipeline)
        raise NotFound(f"there is no pipeline {pipeline!r}", hint=did_you_mean(pipeline, names))
    source = accepted.resource.spec.source
    if source.push is None or source.uri is None:
        raise RequestError(
            "nothing can be pushed to this pipeline", where=pipeline, wanted="spec.source.push with a schema"
        )
    _require_reached(project, source.uri, f"push to {pipeline!r}")
    table = checked_rows(pipeline, source.push.schema_, rows)
    data = _encoded(table)
    folder = source.uri.rpartition("/")[0]
    name = push_name(pipeline, key)
    storage = Storage(locate(folder.removeprefix("file://"), str(project.folder)), source_environ())
    uri = f"{folder}/{name}"
    announced = early.announce(
        pipeline, accepted.resource.spec, table, PushedFile(pipeline, uri), name[:PUSH_LENGTH]
    )
    hit("before-push")
    is_new = storage.put_if_absent(name, data)
    hit("after-push")
    if not is_new:
        _require_same(storage.find(name), table, data, f"push to {pipeline!r}")
    return Pushed(uri, table.num_rows, is_new, announced.put())


def load_libraries() -> None:
    """Load what the first push would: Arrow loads pandas, if there is one, for the first list of values. That is a second."""
    pa.array([None])


def _require_reached(project: Project, uri: str, where: str) -> None:
    """Raises RequestError unless a file that is written there is where the pipeline reads.

    A folder of this machine is the runner's only by way of its project: beside a bucket, rows would be lost with a pod.
    """
    if "://" in uri and not uri.startswith("file://"):
        return
    if not (project.folder / STORE_FILE).is_file():
        raise RequestError(
            "the source is a folder of a machine, and the store was not opened by the folder of its project",
            where=where,
            wanted=f"the folder with the project's {STORE_FILE}, or a source in a bucket",
            got=uri,
        )
    check_source_folder(uri, project.folder, os.environ, where)


def _require_same(stored: bytes | None, table: pa.Table, data: bytes, where: str) -> None:
    """Raises RequestError if what stands there under a key is something else."""
    if stored is None or stored == data:
        return  # Deleted in this moment: it was there, whole.
    try:
        before = pa.ipc.open_file(stored).read_all()
    except (pa.ArrowException, OSError):
        before = None
    if before is None or _content(before) != _content(table):
        raise RequestError(
            "this idempotency key was used for other rows",
            where=where,
            hint="Give each push a key of its own, and the same one only when it is sent again",
        )


def _content(table: pa.Table) -> list[str]:
    """The rows, comparable: NaN is itself, and a null is what a field is that the schema did not have then."""
    return [repr(sorted((k, v) for k, v in row.items() if v is not None)) for row in table.to_pylist()]


def _encoded(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data
