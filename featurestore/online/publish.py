"""Publishing: bring an online store from the version of a view's table that it holds to a later one.

                 ┌ new rows ────────── merged with what is stored of their entities ──┐
    n ── changed ┤                                                                    ├── m
                 └ rows that went ──── their entities rebuilt from offline ───────────┘

A store that was lost, is of another layout, or holds a version that is no longer known is rebuilt.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.errors import NotFound, StorageError
from featurestore.failpoint import hit
from featurestore.online.backends import OnlineStore, open_online
from featurestore.online.changes import Delta, delta
from featurestore.online.entity_keys import key_texts
from featurestore.online.feature_rows import FeatureRows, by_value
from featurestore.online.layout import Form
from featurestore.online.merge import NewRows, advance
from featurestore.online.packed.heap import UnreadableValue
from featurestore.online.publication import Publication
from featurestore.online.versions import OnlineVersion
from featurestore.protocol import Progress, PublishRequest
from featurestore.registry.registry import Registry
from featurestore.storage import paths
from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage
from featurestore.timestamps import current_us
from featurestore.views.builds import PublishResult, definition

_TIMELINE_BYTES, _TEXT_BYTES = 96, 48
"""What finding the newest rows takes of each, and a text in it, more or less."""


def publish_now(
    storage: Storage, request: PublishRequest, progress: Callable[[Progress], None]
) -> PublishResult:
    """:func:`run_publish`, for readers from now on."""
    progress(Progress(step=f"publish {request.view}", done=0))
    return run_publish(storage, request, current_us())


def run_publish(storage: Storage, request: PublishRequest, now_us: int) -> PublishResult:
    """What the online store holds after it: at least version ``to_version`` of the build.

    Repeating it does nothing. ``now_us``: UTC microseconds; values can be read as of this time and later.

    Raises:
        NotFound: nobody wants this build any more, or the store was never applied.
        Conflict: another publication of this build has begun since.
        StorageError: storage or the online store did not answer.
    """
    resource = Registry(storage).store()
    if resource is None:
        raise NotFound(
            "there is no feature store",
            where=storage.root,
            wanted="a FeatureStore that was applied",
            hint="`featurestore apply -f .` records it",
        )
    accepted = definition(storage, request.view, request.digest)
    form = Form.of(accepted.resource.spec)
    memory_bytes = accepted.resource.spec.resources.memory
    return publish(storage, open_online(storage, resource.spec), request, form, now_us, memory_bytes)


def publish(
    storage: Storage,
    online: OnlineStore,
    request: PublishRequest,
    form: Form,
    now_us: int,
    memory_bytes: int = 2 << 30,
) -> PublishResult:
    """:func:`run_publish` into a given store, with so much memory."""
    view, digest = request.view, request.digest
    held = online.index.version(view, digest)
    if held is None or held.version < request.to_version:
        table = Table.open(storage, paths.features(view, digest), request.to_version)
        if table is None:
            raise StorageError("the view's table is gone", where=storage.uri(paths.features(view, digest)))
        publication = online.publication(view, digest, form, request.to_version)
        held = _bring_up(publication, FeatureRows(table, form), now_us, memory_bytes)
        hit("after-publish")
    return PublishResult(
        view=view,
        digest=digest,
        version=held.version,
        commit=request.commit,
        entities=held.entities,
        finished_us=now_us,
    )


def _bring_up(
    publication: Publication, offline: FeatureRows, now_us: int, memory_bytes: int
) -> OnlineVersion:
    changed = None if publication.bases is None else delta(offline, publication.bases)
    if changed is not None:
        try:
            _put_changed(publication, offline, changed, now_us)
            return publication.finish(rebuilt=False)
        except UnreadableValue:
            pass  # what is stored cannot be gone on from; all of it is rebuilt
    parts = _parts(offline, memory_bytes)
    entities = offline.entities()
    if parts > 1:
        # Neighbors: the files are sorted by key, so that few row groups hold the entities of a part.
        entities = by_value(entities)
    size = max(1, -(-entities.num_rows // parts))
    for first in range(0, max(1, entities.num_rows), size):
        publication.put(offline.stored(entities.slice(first, size), now_us, every=parts == 1))
    return publication.finish(rebuilt=True)


def _parts(offline: FeatureRows, memory_bytes: int) -> int:
    """In how many parts all entities are to be published, so that the rows of one take a quarter of the memory."""
    row_bytes = _TIMELINE_BYTES + sum(
        _bytes(field.type) for section in offline.form.sections for field in section
    )
    rows = sum(file.rows for file in offline.table.files())
    return 1 + rows * row_bytes // max(1, memory_bytes // 4)


def _bytes(kind: pa.DataType) -> int:
    try:
        return max(1, int(kind.bit_width) // 8)
    except ValueError:
        return _TEXT_BYTES


def _put_changed(publication: Publication, offline: FeatureRows, changed: Delta, now_us: int) -> None:
    if changed.stale.num_rows:
        stored = offline.stored(changed.stale, now_us)
        publication.put(stored)
        keys = key_texts(changed.stale)
        publication.remove(keys.filter(pc.invert(pc.is_in(keys, value_set=stored.keys))))
    if changed.rows.num_rows:
        new = NewRows.of(offline.form, changed.rows)
        publication.put(advance(offline.form, publication.fetch(new.keys), new, now_us, offline.events))
