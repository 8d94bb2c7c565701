"""What is left of erased rows below a Delta table: data files that no version needs, and bounds in its log.

A file that a commit removed is not needed from then on. One that no commit names may be of a batch that is running:
it goes only if it has an erased key, because then it is of a run that cannot commit any more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import unquote

import polars as pl

from featurestore.storage.delta import BATCH, Table
from featurestore.storage.objects import Storage
from featurestore_transforms.tables.erased_keys import ErasedKeys, Traced
from featurestore_transforms.tables.polars_credentials import access

_AT_ONCE = 16
Holds = Callable[[pl.LazyFrame], bool]


@dataclass(frozen=True, slots=True)
class Swept:
    """How many data files were deleted, commits shortened, and files left that could not be read."""

    files: int = 0
    log: int = 0
    unread: int = 0


def sweep(storage: Storage, path: str, holds: Holds) -> Swept:
    """What was swept below the newest version of a table. ``holds``: whether rows of a file are of an erased key.

    Raises:
        StorageError: storage did not answer.
    """
    table = Table.open(storage, path)
    if table is None:
        return Swept()
    current = {file.path for file in table.files()}
    log = f"{path}/_delta_log"
    commits = [
        name
        for name in storage.names(log)
        if name.endswith(".json") and name[:20].isdigit() and int(name[:20]) <= table.version
    ]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        read = list(pool.map(lambda name: (name, storage.read(f"{log}/{name}")), commits))
        named = {file for _, data in read for file in _named(data)}
        files = unread = 0
        for name in storage.names(path):
            if not name.endswith(".parquet") or name in current:
                continue
            if name not in named:
                held = _holds(storage, f"{path}/{name}", holds)
                if not held:
                    unread += held is None
                    continue
            storage.delete(f"{path}/{name}")
            files += 1
        short = [(name, _shortened(data, current)) for name, data in read]
        changed = [(name, data) for (name, data), (_, old) in zip(short, read, strict=True) if data != old]
        list(pool.map(lambda one: storage.replace(f"{log}/{one[0]}", one[1]), changed))
    table.checkpoint()
    for name in storage.names(log):
        # All commits are there, so no older checkpoint is needed.
        if ".checkpoint." in name and name[:20].isdigit() and int(name[:20]) < table.version:
            storage.delete(f"{log}/{name}")
    return Swept(files, len(changed), unread)


def of_rows(keys: ErasedKeys) -> Holds:
    """Whether rows of a dataset or a view are of an erased key."""

    def holds(rows: pl.LazyFrame) -> bool:
        names = {name for erasure in keys.erasures for name in erasure.names}
        present = [name for name in rows.collect_schema() if name in names or name == BATCH]
        return (
            bool(keys.flags(rows.select(present).collect(engine="streaming")).any())
            if BATCH in present
            else False
        )

    return holds


def of_records(keys: ErasedKeys, traced: Traced) -> Holds:
    """Whether rows of a quarantine are of an erased key."""

    def holds(rows: pl.LazyFrame) -> bool:
        records = rows.select("record", BATCH).collect(engine="streaming")
        return any(keys.in_record(text, batch, traced) for text, batch in records.iter_rows())

    return holds


def _holds(storage: Storage, path: str, holds: Holds) -> bool | None:
    try:
        options = access(storage.root, storage.environ)
        return holds(pl.scan_parquet(storage.uri(path), glob=False, hive_partitioning=False, **options))
    except (OSError, pl.exceptions.PolarsError):
        return None


def _actions(data: bytes) -> Iterator[dict[str, dict[str, object]]]:
    for line in data.splitlines():
        if line.strip():
            yield json.loads(line)


def _named(data: bytes) -> Iterator[str]:
    for action in _actions(data):
        for kind in ("add", "remove"):
            if kind in action:
                yield unquote(str(action[kind]["path"]))


def _shortened(data: bytes, current: set[str]) -> bytes:
    """A commit without the bounds of files that are gone: they are values of rows."""
    lines, changed = [], False
    for action in _actions(data):
        for kind in ("add", "remove"):
            file = action.get(kind)
            stats = json.loads(str(file["stats"])) if file and file.get("stats") else None
            if file and stats and unquote(str(file["path"])) not in current and len(stats) > 1:
                file["stats"] = json.dumps({"numRecords": stats.get("numRecords", 0)})
                changed = True
        lines.append(json.dumps(action, separators=(",", ":"), ensure_ascii=False))
    return ("\n".join(lines) + "\n").encode() if changed else data
