"""From a row back to the file it came from. Rows of datasets and of views carry the same three numbers."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.manifest import Manifest
from featurestore.errors import StorageError
from featurestore.storage.objects import Storage

_AT_ONCE = 16
"""Manifests read at the same time: in object storage each takes a round trip."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a row came from. ``planned_us``: when its batch was planned, UTC microseconds.

    ``uri`` and ``version`` name the file as it was taken, ``spec_digest`` the pipeline's resource under which it was run.
    """

    pipeline: str
    batch: int
    uri: str
    version: str
    spec_digest: str
    planned_us: int


class Lineage:
    """Origins of the rows of one pipeline's dataset."""

    def __init__(self, storage: Storage, pipeline: str) -> None:
        self._ledger = Ledger(storage, pipeline)
        self._pipeline = pipeline
        self._planned_us: dict[int, int] = {}

    def origin(self, batch: int, file: int) -> Origin:
        """The origin of all rows with this ``__batch`` and ``__file``.

        Raises:
            NotFound: there is no such batch.
            StorageError: the manifest has no such file, so the row and the ledger do not belong together.
        """
        manifest = self._ledger.manifest(batch)
        if not 0 <= file < len(manifest.entries):
            raise StorageError(
                "a row names a file that its manifest does not have",
                where=f"batch {batch} of {self._pipeline!r}",
                wanted=f"a file below {len(manifest.entries)}",
                got=str(file),
                hint="The table was written by something else, or the ledger was replaced",
            )
        arrival = manifest.entries[file].arrival
        return Origin(
            pipeline=self._pipeline,
            batch=batch,
            uri=arrival.uri,
            version=arrival.version,
            spec_digest=self._ledger.rebuilds.spec_digest(batch) or manifest.spec_digest,
            planned_us=manifest.created_us,
        )

    def planned_us(self, batches: Iterable[int]) -> dict[int, int]:
        """When each of these batches was planned: the created time of its rows.

        Raises:
            NotFound: there is no such batch.
        """
        wanted = set(batches)
        unread = sorted(wanted - self._planned_us.keys())
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            manifests: Iterable[Manifest] = pool.map(self._ledger.manifest, unread)
            self._planned_us.update((manifest.number, manifest.created_us) for manifest in manifests)
        return {batch: self._planned_us[batch] for batch in wanted}
