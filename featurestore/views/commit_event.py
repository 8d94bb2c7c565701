"""Commits of a view as CloudEvents: what others are told when features are there that were not there before.

Source of the names: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from featurestore.storage import paths
from featurestore.storage.objects import Storage
from featurestore.timestamps import from_us

TYPE = "dev.featurestore.commit"
_NUMBERS = {
    "source_version": "datasetVersion",
    "rows_added": "rowsAdded",
    "rows_removed": "rowsRemoved",
    "rows_quarantined": "rowsQuarantined",
}


def commit_events(
    storage: Storage, view: str, digest: str, after: int, upto: int
) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """The versions of a build's table after one and up to another, each with its event; None of one that is no commit of rows.

    The table's log is read as what it is, JSON, because whoever tells of commits has no data engine.

    Raises:
        StorageError: storage did not answer.
    """
    for version in range(after + 1, upto + 1):
        data = storage.find(paths.commit_log(view, digest, version))
        commit = None if data is None else _commit_info(data)
        yield version, None if commit is None else _event(view, digest, version, commit)


def _commit_info(data: bytes) -> Mapping[str, Any] | None:
    """What the build wrote beside its rows; None of a commit of something else."""
    for line in data.splitlines():
        if b'"commitInfo"' in line:
            commit = json.loads(line).get("commitInfo")
            if isinstance(commit, dict) and {"finished_us", "rows_added", *_NUMBERS} <= commit.keys():
                return commit
    return None


def _event(view: str, digest: str, version: int, commit: Mapping[str, Any]) -> dict[str, Any]:
    watermark = str(commit.get("watermark_us"))
    return {
        "specversion": "1.0",
        "type": TYPE,
        "source": view,
        "id": f"{digest}:{version}",
        "time": _time(int(commit["finished_us"])),
        "datacontenttype": "application/json",
        "data": {
            "view": view,
            "build": digest,
            "version": version,
            **{name: int(commit[own]) for own, name in _NUMBERS.items()},
            "watermark": None if watermark == "None" else _time(int(watermark)),
        },
    }


def _time(us: int) -> str:
    return from_us(us).isoformat().replace("+00:00", "Z")
