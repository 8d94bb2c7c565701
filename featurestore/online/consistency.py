"""Whether what is online is what the point-in-time join answers, as was last found: known without a data engine."""

from __future__ import annotations

from featurestore.resources.model import Model
from featurestore.storage import paths
from featurestore.storage.json_record import read_record
from featurestore.storage.objects import Storage


class OnlineDifference(Model):
    """An entity whose online values are others than those offline. ``outputs``: which of them.

    It is named by a row of its own, ``row`` of the data file ``file`` of the view's table: keys may say who somebody is,
    and whoever may see a status may not see them.
    """

    file: str
    row: int
    outputs: tuple[str, ...]

    @property
    def place(self) -> str:
        """Where the entity stands, in words."""
        return f"row {self.row} of {self.file}"


class Consistency(Model):
    """What was found after version ``version`` of a build's table was published.

    ``entities``: how many were read both ways. ``differences``: those that differ, the first of them. ``failure``: why
    they could not be read; nothing is known then.
    """

    version: int
    entities: int
    differing: int = 0
    differences: tuple[OnlineDifference, ...] = ()
    failure: str | None = None
    checked_us: int


def read_consistency(storage: Storage, view: str, digest: str) -> Consistency | None:
    """What was last found of a build; None if nothing was.

    Raises:
        StorageError: storage did not answer.
    """
    path = paths.consistency(view, digest)
    return read_record(
        storage, path, Consistency, "whether a view is consistent", f"Delete {storage.uri(path)}"
    )


def record_consistency(storage: Storage, view: str, digest: str, consistency: Consistency) -> None:
    """Keep it for those who load no data engine."""
    storage.replace(paths.consistency(view, digest), consistency.model_dump_json(by_alias=True).encode())
