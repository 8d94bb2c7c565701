"""What a model's code uses: features as they were at a time, for training, and as they are now, for inference.

>>> import featurestore
>>> store = featurestore.connect()                                              # doctest: +SKIP
>>> store.get_features(["aircraft-delays:last_arr_delay"], [{"tailnum": "N14228"}])  # doctest: +SKIP
tailnum  last_arr_delay
───────  ──────────────
N14228             11.0
[1 row]
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featurestore.client.resolution import Resolution, ViewRead, changed, resolve
from featurestore.errors import RequestError, StorageError, TransientError, did_you_mean
from featurestore.humanize import format_time
from featurestore.registry.project import Project, open_project
from featurestore.resources import FeatureView
from featurestore.resources.feature_view import OnlineEnabled
from featurestore.resources.metadata import resource_name
from featurestore.resources.outputs import outputs
from featurestore.resources.quantity import format_duration
from featurestore.storage import paths
from featurestore.timestamps import SECOND_US, current_us, from_us
from featurestore.views.builds import BuildResult, read_active_build, read_build
from featurestore.views.feature_query import FeatureQuery, FeatureValues
from featurestore.views.served import ServedViews

if TYPE_CHECKING:
    import pyarrow as pa

    from featurestore.client.features import Features
    from featurestore.online.backends import OnlineStore


_POLL_S = 0.05
_POINTER_AGE_S = 1.0
"""How long an online read trusts what it saw of a view's pointers: storage is slower than an online store."""


def connect(uri_or_folder: str | Path | None = None) -> Store:
    """The feature store of a project's folder (with a ``store.yaml``) or of a storage root.

    Without an argument: what the environment variable ``FEATURESTORE_URI`` names, else the current folder.
    Credentials come from the environment, as the AWS tools and Redis clients know them.

    Raises:
        NotFound: there is no store.
        StorageError: storage did not answer.
    """
    return Store(open_project(uri_or_folder, os.environ, Path.cwd()))


@dataclass(frozen=True, slots=True)
class _Request:
    """``timestamp_column``: None to read the present. ``index``: of the pandas frame that was given."""

    table: pa.Table
    features: str | Sequence[str]
    resolution: Resolution
    timestamp_column: str | None
    full_feature_names: bool
    include_event_timestamps: bool
    index: Any


class Store:
    """Reads features. Safe to keep for the life of a process; new data and definitions are seen as they come.

    ``clock_us`` gives microseconds since 1970, UTC: the time that online reads are for. ``sleep`` waits seconds.
    """

    def __init__(
        self,
        project: Project,
        *,
        clock_us: Callable[[], int] = current_us,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._project = project
        self._storage = project.storage
        self._clock_us, self._sleep = clock_us, sleep
        self._views = ServedViews(project.storage)
        self._opened: OnlineStore | None = None

    def get_features(
        self,
        features: str | Sequence[str],
        entities: Any,
        *,
        timestamp_column: str | None = None,
        as_of: datetime | date | str | None = None,
        full_feature_names: bool = False,
        include_event_timestamps: bool = False,
    ) -> Features:
        """The features of each entity: at the times in a column, or online, now, if there is no such column.

        ``features``: a name or names such as ``aircraft-delays:last_arr_delay``, or ``aircraft-delays`` for all
        of a view; ``_`` may stand for ``-``. ``entities``: a pandas or Polars frame, an Arrow table, a dict of
        lists or a list of dicts, with the join keys of all views asked. The result has one row per entity, in
        their order, with all their columns. ``timestamp_column``: its values are taken as UTC if they have no
        zone. Without it a column ``event_timestamp`` is taken; entities with another column of times are refused,
        because they may be meant either way: :meth:`get_online_features` always reads the present.
        ``as_of``: only what was known then counts. ``full_feature_names``: columns are named ``view__feature``.
        ``include_event_timestamps``: a column ``<feature>__ts`` has the event time of each value.

        Raises:
            NotFound: a view or feature is unknown.
            RequestError: a join key is missing or of the wrong type, a time is not one, names clash.
            StorageError: storage or the online store did not answer.
        """
        from featurestore.client.frames import index_times, read_frame
        from featurestore.client.times import request_time_column

        table = read_frame(entities)
        # The present is what most requests without a timestamp_column are about, and asked for most often.
        resolution = self._resolve(features, _POINTER_AGE_S if timestamp_column is None else 0.0)
        if timestamp_column is None:
            event_times = {read.view.spec.timestamp_field for read in resolution.reads}
            timestamp_column = request_time_column(table, event_times, index_times(entities, event_times))
            if timestamp_column is not None:
                resolution = self._resolve(features, 0.0)
        if as_of is not None and timestamp_column is None:
            raise RequestError(
                "as_of needs a timestamp_column",
                where="get_features",
                hint="Without one the online store is read, which knows the present only",
            )
        request = _Request(
            table,
            features,
            resolution,
            timestamp_column,
            full_feature_names,
            include_event_timestamps,
            _index(entities),
        )
        return self._answer(request, as_of)

    def get_historical_features(
        self,
        entity_df: Any,
        features: str | Sequence[str],
        full_feature_names: bool = False,
        *,
        include_event_timestamps: bool = False,
    ) -> Features:
        """Feast's signature: :meth:`get_features` at the times in the column ``event_timestamp``.

        Without a column of that name, the only one that holds times is taken.
        """
        from featurestore.client.frames import read_frame
        from featurestore.client.times import historical_time_column

        table = read_frame(entity_df)
        request = _Request(
            table,
            features,
            self._resolve(features, 0.0),
            historical_time_column(table),
            full_feature_names,
            include_event_timestamps,
            _index(entity_df),
        )
        return self._answer(request, None)

    def get_online_features(
        self,
        features: str | Sequence[str],
        entity_rows: Any,
        full_feature_names: bool = False,
        *,
        include_event_timestamps: bool = False,
    ) -> Features:
        """Feast's signature: :meth:`get_features` as of now, whatever columns the entities have."""
        from featurestore.client.frames import read_frame

        request = _Request(
            read_frame(entity_rows),
            features,
            self._resolve(features, _POINTER_AGE_S),
            None,
            full_feature_names,
            include_event_timestamps,
            _index(entity_rows),
        )
        return self._answer(request, None)

    def list_views(self) -> list[str]:
        """Names of the views that are accepted, sorted."""
        return self._project.registry.names(FeatureView)

    def describe(self, view: str) -> dict[str, Any]:
        """What a view is made of and how far it has come, as plain values.

        ``features`` maps names to types. ``commit`` is the dataset's commit it holds, ``watermark`` its
        greatest event time, ``serving`` the digest of the build that is read; None while there is none.

        Raises:
            NotFound: there is no such view.
        """
        view = resource_name(view)
        accepted = self._views.accepted(view)
        served = self._views.find(view)
        spec = served.spec if served else accepted.resource.spec
        build = read_build(self._storage, view, served.digest) if served else None
        return {
            "name": view,
            "description": spec.description,
            "owner": spec.owner,
            "tags": dict(spec.tags),
            "entity": spec.entity.name,
            "join_keys": {key.name: key.type.value for key in spec.entity.join_keys},
            "features": {output.name: output.type.value for output in outputs(spec)},
            "ttl": None if spec.ttl is None else format_duration(spec.ttl),
            "pipeline": spec.source.pipeline,
            "online": spec.online.enabled.value,
            "serving": served.digest if served else None,
            "commit": build.source_version if build else None,
            "rows": build.rows if build else None,
            "watermark": _time(build.watermark_us) if build else None,
        }

    def wait_fresh(
        self,
        view: str,
        commit_or_time: int | datetime | str | None = None,
        timeout: float = 60.0,
    ) -> None:
        """Return once the accepted definition of a view serves enough, offline and (if it is published) online.

        Enough is: a commit of its dataset (a number, as ``featurestore get views`` shows it), or an event time
        up to which it holds data, or without either all that its dataset holds now. ``timeout`` in seconds.

        Raises:
            NotFound: there is no such view.
            TransientError: it did not happen in time.
        """
        from featurestore.client.times import moment

        view = resource_name(view)
        if commit_or_time is None:
            commit_or_time = self._newest_commit(view)
        by_time = not isinstance(commit_or_time, int)
        least = commit_or_time if isinstance(commit_or_time, int) else moment(commit_or_time, "wait_fresh")
        end_us = self._clock_us() + int(timeout * SECOND_US)
        while True:
            build = self._held(view)
            held = None if build is None else build.watermark_us if by_time else build.source_version
            if held is not None and held >= least:
                return
            if self._clock_us() >= end_us:
                raise TransientError(
                    f"the view {view!r} did not become fresh in time",
                    where=f"wait_fresh, {timeout:g} s",
                    wanted=f"data up to {_time(least)}" if by_time else f"commit {least} of its dataset",
                    got="no complete build"
                    if build is None
                    else f"commit {build.source_version}, data up to {_time(build.watermark_us)}",
                    hint=f"`featurestore describe view {view}` says what it waits for",
                )
            self._sleep(_POLL_S)

    def _resolve(self, features: object, max_age_s: float) -> Resolution:
        """What is to be read for a request, of the views as they were served at most so long ago."""
        return resolve(features, lambda name: self._views.get(name, max_age_s))

    def _answer(self, request: _Request, as_of: datetime | date | str | None) -> Features:
        import pyarrow as pa

        from featurestore.client.features import Features
        from featurestore.client.frames import typed_if_empty

        resolution, timestamp_column = request.resolution, request.timestamp_column
        table = typed_if_empty(request.table, resolution.key_types, timestamp_column)
        names = resolution.names(table.column_names, request.full_feature_names)
        answers = (
            self._now(request, table)
            if timestamp_column is None
            else self._then(resolution.reads, table, timestamp_column, as_of)
        )
        found = [
            (name, answers[column.place], column.output.name)
            for name, column in zip(names, resolution.columns, strict=True)
        ]
        return Features(
            table,
            pa.table({name: values.columns[output] for name, values, output in found}),
            {name: values.statuses[output] for name, values, output in found},
            {name: values.event_times for name, values, _ in found},
            include_event_timestamps=request.include_event_timestamps,
            timestamp_column=timestamp_column,
            index=request.index,
        )

    def _then(
        self,
        reads: Sequence[ViewRead],
        table: pa.Table,
        timestamp_column: str,
        as_of: datetime | date | str | None,
    ) -> list[FeatureValues]:
        """What the offline store answers for the times in a column, for each read."""
        from featurestore.client.times import microseconds, moment
        from featurestore.offline.join import Times, point_in_time

        if timestamp_column not in table.column_names:
            raise RequestError(
                "there is no such timestamp column",
                where="entities",
                wanted=f"a column {timestamp_column!r}",
                got=f"columns {table.column_names}",
                hint=did_you_mean(timestamp_column, table.column_names),
            )
        times_us, is_asked = microseconds(table.column(timestamp_column), timestamp_column)
        times = Times(times_us, is_asked, None if as_of is None else moment(as_of, "as_of"))
        return [point_in_time(self._storage, lookup, times) for lookup in _lookups(reads, table)]

    def _now(self, request: _Request, table: pa.Table) -> list[FeatureValues]:
        """What the online store answers for now, for each read."""
        reads = request.resolution.reads
        for read in reads:
            if read.view.spec.online.enabled is OnlineEnabled.NEVER:
                raise RequestError(
                    f"the view {read.view.name!r} is not published online",
                    where="features",
                    hint="Pass a timestamp_column to read it offline, or set its online.enabled to Always",
                )
        try:
            return self._read_online(reads, table)
        except StorageError:
            # A build that was replaced may be deleted while its pointer is still young enough to go by.
            self._views.forget()
            renewed = self._resolve(request.features, _POINTER_AGE_S).reads
            if not changed(reads, renewed):
                raise
            return self._read_online(renewed, table)

    def _read_online(self, reads: Sequence[ViewRead], table: pa.Table) -> list[FeatureValues]:
        found = self._online_store().read_many(_lookups(reads, table), self._clock_us())
        return list(found)

    def _online_store(self) -> OnlineStore:
        if self._opened is None:
            from featurestore.online.backends import open_online

            self._opened = open_online(self._storage, self._project.store.spec)
        return self._opened

    def _newest_commit(self, view: str) -> int:
        from featurestore.storage.delta import Table

        pipeline = self._views.accepted(view).resource.spec.source.pipeline
        table = Table.open(self._storage, paths.dataset(pipeline))
        return 0 if table is None else table.version

    def _held(self, view: str) -> BuildResult | None:
        """How far the accepted definition has come for readers; None while it is not what they read."""
        accepted, serving = self._views.accepted(view), read_active_build(self._storage, view)
        if serving is None or serving.spec_digest != accepted.digest:
            return None
        build = read_build(self._storage, view, serving.digest)
        if build is None or accepted.resource.spec.online.enabled is OnlineEnabled.NEVER:
            return build
        held = self._online_store().index.version(view, serving.digest)
        return build if held is not None and held.version >= build.version else None


def _lookups(reads: Sequence[ViewRead], table: pa.Table) -> list[FeatureQuery]:
    """Each read with the keys of the entities."""
    return [
        FeatureQuery(read.view.name, read.view.spec, read.view.digest, read.outputs, _entities(read, table))
        for read in reads
    ]


def _index(entities: Any) -> Any:
    """The index of a pandas frame, else None."""
    from featurestore.client.frames import is_pandas

    return entities.index if is_pandas(entities) else None


def _entities(read: ViewRead, table: pa.Table) -> pa.Table:
    """``table[<join keys>]`` in their declared types."""
    import pyarrow as pa

    from featurestore.client.frames import key_column

    keys = read.view.spec.entity.join_keys
    return pa.table(
        {
            key.name: key_column(table, column, key.type, read.view.name)
            for key, column in zip(keys, read.keys, strict=True)
        }
    )


def _time(time_us: int | None) -> str | None:
    if time_us is None:
        return None
    try:
        return from_us(time_us).isoformat()
    except OverflowError:  # Python has no times outside the years 1 to 9999
        return format_time(time_us)
