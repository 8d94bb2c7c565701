"""Whether a table's past can still be read: logs and data files are cleaned up some time after they are needed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import PurePosixPath

from featurestore.storage.delta import DataFile, Table

_COMMIT = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\..*parquet")


def is_known(table: Table, version: int) -> bool:
    """True if the log still tells what the table held at this version.

    Raises:
        StorageError: storage did not answer.
    """
    return tells(table.storage.names(f"{table.path}/_delta_log"), version)


def tells(log: Collection[str], version: int) -> bool:
    """True if files of a log with these names give the version: all commits since the first or a checkpoint.

    >>> tells(["00000000000000000000.json", "00000000000000000001.json"], 1)
    True
    >>> tells(["00000000000000000001.json"], 1)
    False
    """
    commits = {int(match[1]) for name in log if (match := _COMMIT.fullmatch(name))}
    checkpoints = {int(match[1]) for name in log if (match := _CHECKPOINT.fullmatch(name))}
    base = max((n for n in checkpoints if n <= version), default=-1)
    return all(n in commits for n in range(base + 1, version + 1))


def are_there(table: Table, files: Iterable[DataFile]) -> bool:
    """True if storage still has all of these data files.

    Raises:
        StorageError: storage did not answer.
    """
    wanted = [PurePosixPath(table.path, file.path) for file in files]
    names = {folder: set(table.storage.names(str(folder))) for folder in {path.parent for path in wanted}}
    return all(path.name in names[path.parent] for path in wanted)
