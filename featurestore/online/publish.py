"""Publishing: bring an online store from the version of a view's table that it holds to a later one.

                 ┌ new rows ────────── merged with what is stored of their entities ──┐
    n ── changed ┤                                                                    ├── m
                 └ rows that went ──── their entities rebuilt from offline ───────────┘

A store that was lost, is of another layout, or holds a version that is no longer known is rebuilt.

All of it goes part by part, by ranges of keys, so that memory does not grow with the number of entities.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.errors import NotFound, StorageError
from featurestore.failpoint import hit
from featurestore.online.backends import OnlineStore, open_online
from featurestore.online.changes import Delta, UnknownChanges, deltas
from featurestore.online.entity_keys import key_texts
from featurestore.online.feature_rows import FeatureRows
from featurestore.online.key_range import KeyRange, KeySet
from featurestore.online.layout import Form
from featurestore.online.merge import NewRows, advance
from featurestore.online.packed.heap import UnreadableValue
from featurestore.online.pending_pushes import settle
from featurestore.online.publication import Publication
from featurestore.online.read_both_ways import check
from featurestore.protocol import Progress, PublishRequest
from featurestore.registry.registry import Registry
from featurestore.storage import paths
from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage
from featurestore.timestamps import current_us
from featurestore.views.builds import PublishResult, definition


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
    online = open_online(storage, resource.spec)
    published = publish(storage, online, request, form, now_us, memory_bytes)
    check(storage, online, accepted.resource.spec, published, now_us)
    return published


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
        rows, immediate = FeatureRows(table, form, memory_bytes), online.immediate(view, digest, form)
        with online.publication(view, digest, form, request.to_version, memory_bytes) as publication:
            _bring_up(publication, rows, now_us)
            if immediate is not None:
                settle(storage, immediate, request.commit, now_us)
            held = publication.finish()
        hit("after-publish")
    return PublishResult(
        view=view,
        digest=digest,
        version=held.version,
        commit=request.commit,
        entities=held.entities,
        finished_us=now_us,
    )


def _bring_up(publication: Publication, offline: FeatureRows, now_us: int) -> None:
    if publication.bases is not None:
        try:
            for delta in deltas(offline, publication.bases):
                _put_changed(publication, offline, delta, now_us)
                _give_back()
            return
        except (UnknownChanges, UnreadableValue):
            pass  # what is stored cannot be gone on from; all of it is rebuilt
    publication.begin_anew()
    for stored in offline.stored(KeyRange(), now_us):
        publication.put(stored)
        _give_back()


def _put_changed(publication: Publication, offline: FeatureRows, changed: Delta, now_us: int) -> None:
    if changed.stale.num_rows:
        keys = key_texts(changed.stale)
        kept = [keys.slice(0, 0)]
        for stored in offline.stored(KeySet(changed.stale), now_us):
            publication.replace(stored)
            kept.append(stored.keys)
        publication.remove(keys.filter(pc.invert(pc.is_in(keys, value_set=pa.concat_arrays(kept)))))
    if changed.rows.num_rows:
        new = NewRows.of(offline.form, changed.rows)
        publication.put(advance(offline.form, publication.fetch(new.keys), new, now_us, offline.events))


def _give_back() -> None:
    """Let the system have what Arrow keeps for later, of which the next part needs less."""
    pa.default_memory_pool().release_unused()
