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
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featurestore.client.descriptions import describe_service, describe_view, iso_time
from featurestore.client.feature_reader import FeatureReader
from featurestore.client.resolution import Resolution, resolve
from featurestore.errors import RequestError, TransientError, did_you_mean
from featurestore.registry.project import Project, open_project
from featurestore.resources import FeatureService, FeatureView
from featurestore.resources.feature_view import OnlineEnabled
from featurestore.resources.metadata import resource_name
from featurestore.storage import paths
from featurestore.timestamps import SECOND_US, current_us
from featurestore.views.builds import BuildResult, read_active_build, read_build
from featurestore.views.feature_query import FeatureQuery
from featurestore.views.served import ServedOnDemand, ServedViews

if TYPE_CHECKING:
    import pyarrow as pa

    from featurestore.client.answers import Answer
    from featurestore.client.early_rows import EarlyRows
    from featurestore.client.features import Features
    from featurestore.client.push import Pushed
    from featurestore.client.training_data import TrainingData
    from featurestore.online.backends import OnlineStore
    from featurestore.resources.feature_selection import FeatureSelection
    from featurestore.views.view_statistics import ViewStatistics


_POLL_S = 0.05
_READERS = 64
"""Lists of features that the calls of a store keep a prepared reader of."""


def connect(uri_or_folder: str | Path | None = None) -> Store:
    """The feature store of a project's folder (with a ``store.yaml``) or of a storage root.

    Without an argument: what the environment variable ``FEATURESTORE_URI`` names, else the current folder.
    Credentials come from the environment, as the AWS tools and Redis clients know them.

    Raises:
        NotFound: there is no store.
        StorageError: storage did not answer.
    """
    return Store(open_project(uri_or_folder, os.environ, Path.cwd()))


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
        self._opened: dict[str, OnlineStore] = {}
        self._readers: dict[object, FeatureReader] = {}
        self._early: EarlyRows | None = None

    @property
    def project(self) -> Project:
        """Where it is, and what is accepted there."""
        return self._project

    def get_features(
        self,
        features: str | Sequence[str | FeatureSelection],
        entities: Any,
        *,
        timestamp_column: str | None = None,
        as_of: datetime | date | str | None = None,
        full_feature_names: bool = False,
        include_event_timestamps: bool = False,
    ) -> Features:
        """The features of each entity: at the times in a column, or online, now, if there is no such column.

        ``features``: a name or names such as ``aircraft-delays:last_arr_delay``, ``aircraft-delays`` for all of a view,
        the name of a FeatureService, or selections as services have them; ``_`` may stand for ``-``. ``entities``: a
        pandas or Polars frame, an Arrow table, a dict of lists or a list of dicts, with the join keys of all views asked.
        The result has one row per entity, in their order, with all their columns.
        ``timestamp_column``: its values are taken as UTC if they have no zone. Without it a column ``event_timestamp`` is
        taken; entities with another column of times are refused, because they may be meant either way:
        :meth:`get_online_features` always reads the present.
        ``as_of``: only what was known then counts. ``full_feature_names``: columns are named ``view__feature``.
        ``include_event_timestamps``: a column ``<feature>__ts`` has the event time of each value.

        Raises:
            NotFound: a view or feature is unknown.
            RequestError: a join key is missing or of the wrong type, a time is not one, names clash.
            StorageError: storage or the online store did not answer.
        """
        from featurestore.client.frames import index_times, read_frame, typed_if_empty
        from featurestore.client.times import request_time_column

        table = read_frame(entities)
        if timestamp_column is None:
            event_times = self._reader(features, full_feature_names).resolution().event_times
            timestamp_column = request_time_column(table, event_times, index_times(entities, event_times))
        if timestamp_column is None:
            if as_of is not None:
                raise RequestError(
                    "as_of needs a timestamp_column",
                    where="get_features",
                    hint="Without one the online store is read, which knows the present only",
                )
            return self._now(features, entities, table, full_feature_names, include_event_timestamps)
        resolution = resolve(features, self._views)
        table = typed_if_empty(table, resolution.key_types, timestamp_column)
        names = resolution.names(table.column_names, full_feature_names)
        answer = self._then(resolution, names, table, timestamp_column, as_of)
        return self._features(entities, table, answer, include_event_timestamps, timestamp_column)

    def push(self, pipeline: str, rows: Any, *, idempotency_key: str | None = None) -> Pushed:
        """Send rows to a pipeline whose source says ``push``; they are durable when this returns, and taken as a file is.

        ``rows``: a pandas or Polars frame, an Arrow table, a dict of lists or a list of dicts, with fields of the
        schema that the pipeline gives. ``idempotency_key``: the same rows sent again with the same key are taken once.
        Without one, each call is a push of its own. In views with ``write: Immediate`` the rows are read online when this
        returns; where that is not so, ``online`` of the answer says why, and they are read when their batch is published.

        Raises:
            NotFound: there is no such pipeline.
            RowsRefused: rows do not have the schema; none is taken, and ``errors`` names rows and fields.
            RequestError: nothing is pushed to this pipeline, or the key was used for other rows.
            StorageError: storage did not answer; push again with the same key.
        """
        from featurestore.client.early_rows import EarlyRows
        from featurestore.client.frames import read_frame
        from featurestore.client.push import push

        is_records = isinstance(rows, Sequence) and all(isinstance(row, Mapping) for row in rows)
        key = str(uuid.uuid4()) if idempotency_key is None else idempotency_key
        self._early = self._early or EarlyRows(self._storage, self._online_store, self._clock_us)
        table = rows if is_records else read_frame(rows)
        return push(self._project, self._early, resource_name(pipeline), table, key)

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
        column = historical_time_column(table)
        return self.get_features(
            features,
            entity_df,
            timestamp_column=column,
            full_feature_names=full_feature_names,
            include_event_timestamps=include_event_timestamps,
        )

    def get_online_features(
        self,
        features: str | Sequence[str | FeatureSelection],
        entity_rows: Any,
        full_feature_names: bool = False,
        *,
        include_event_timestamps: bool = False,
    ) -> Features:
        """Feast's signature: :meth:`get_features` as of now, whatever columns the entities have."""
        from featurestore.client.frames import read_frame

        table = read_frame(entity_rows)
        return self._now(features, entity_rows, table, full_feature_names, include_event_timestamps)

    def reader(
        self,
        features: str | Sequence[str | FeatureSelection],
        *,
        full_feature_names: bool = False,
        timeout: float | None = None,
        allow_stale: bool = False,
    ) -> FeatureReader:
        """A prepared read of these features, for inference: names, types and connections are resolved once.

        ``features``, ``full_feature_names``: as in :meth:`get_features`. ``timeout``: seconds that a read may wait
        for Redis in all (5 for each 10,000 entities). ``allow_stale``: if it has not answered by then, entities that
        were read before are answered with those values, if they are not too old by now; the answer says ``is_stale``.

        Raises:
            NotFound: a view or feature is unknown.
            RequestError: a name is malformed, names clash, or a view is not published online.
            StorageError: storage did not answer.
        """
        reader = FeatureReader(
            self._views,
            self._online_store,
            features,
            full_feature_names=full_feature_names,
            timeout_s=timeout,
            allow_stale=allow_stale,
            clock_us=self._clock_us,
            is_local=self._storage.is_local,
        )
        reader.prepare()
        return reader

    def training_set(self, name: str, version: int | str | None = None) -> TrainingData:
        """A version of a training set, by its number or digest; the newest that is complete if none is asked for.

        Raises:
            NotFound: there is none.
            StorageError: storage did not answer.
        """
        from featurestore.client.training_data import TrainingData

        return TrainingData.find(self._storage, resource_name(name), version)

    def save_training_set(
        self, name: str, features: Features, *, labels: Sequence[str], shard_rows: int = 250_000
    ) -> TrainingData:
        """Keep what :meth:`get_features` answered for times as a version of a training set that no resource makes.

        ``labels``: columns of the entities that are to be learned. Rows keep their order. The same rows again are the
        same version.

        Raises:
            RequestError: the answer is not of times, a label is not a column of the entities, or a resource has the name.
            StorageError: storage did not answer.
        """
        from featurestore.client.saved_training import save_training_set

        return save_training_set(self._storage, resource_name(name), features, labels, shard_rows)

    def list_views(self) -> list[str]:
        """Names of the views that are accepted, sorted."""
        return self._project.registry.names(FeatureView)

    def list_services(self) -> list[str]:
        """Names of the services that are accepted, sorted."""
        return self._project.registry.names(FeatureService)

    def describe_service(self, service: str) -> dict[str, Any]:
        """What a model that reads by this name gets, as plain values.

        ``features`` maps the full name of each column to its type. ``join_keys``: columns that the entities must have,
        and their types. ``watermark``: greatest event time of the stalest view; None while one of them has no row.
        ``digest`` names this version of its definition.

        Raises:
            NotFound: there is no such service, or a view or feature that it names is not there.
        """
        return describe_service(self._storage, self._views, resource_name(service))

    def describe(self, view: str) -> dict[str, Any]:
        """What a view is made of and how far it has come, as plain values.

        ``features`` maps names to types. ``commit`` is the dataset's commit it holds, ``watermark`` its
        greatest event time, ``serving`` the digest of the build that is read; None while there is none. A view on
        demand has ``request`` and ``inputs``, and None for all that is about rows.

        Raises:
            NotFound: there is no such view.
        """
        return describe_view(self._storage, self._views, resource_name(view))

    def statistics(self, view: str, commit: int | None = None) -> ViewStatistics:
        """What the values of a view look like at a commit of its dataset; None: at the newest.

        ``every``: of all rows, ``recent``: of the newest batches. Both have ``features``, by name: ``count``, ``nulls``,
        ``minimum``, ``maximum``, ``mean``, ``deviation``, ``quantiles``, ``distinct``, ``common`` values.

        Raises:
            NotFound: there is no such view, no build of it is read yet, or the commit's statistics are not kept.
            StorageError: storage did not answer.
        """
        from featurestore.views.view_statistics import statistics_at

        name = resource_name(view)
        served = self._views.get(name)
        if isinstance(served, ServedOnDemand):
            raise RequestError(
                f"the view {name!r} is computed on demand: nothing of it is stored",
                wanted="a view of a dataset",
            )
        return statistics_at(self._storage, name, served.digest, commit)

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
        from featurestore.client.times import timestamp_us

        view = resource_name(view)
        accepted = self._views.accepted(view).resource
        if not isinstance(accepted, FeatureView):
            if isinstance(commit_or_time, int):
                raise RequestError(
                    f"the view {view!r} is computed on demand, and has no commits",
                    where="wait_fresh",
                    wanted="an event time, or nothing",
                    got=str(commit_or_time),
                )
            for read in resolve([view], self._views).reads:
                self.wait_fresh(read.view.name, commit_or_time, timeout)
            return
        if commit_or_time is None:
            commit_or_time = self._newest_commit(accepted.spec.source.pipeline)
        by_time = not isinstance(commit_or_time, int)
        least = (
            commit_or_time if isinstance(commit_or_time, int) else timestamp_us(commit_or_time, "wait_fresh")
        )
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
                    wanted=f"data up to {iso_time(least)}" if by_time else f"commit {least} of its dataset",
                    got="no complete build"
                    if build is None
                    else f"commit {build.source_version}, data up to {iso_time(build.watermark_us)}",
                    hint=f"`featurestore describe view {view}` says what it waits for",
                )
            self._sleep(_POLL_S)

    def _reader(self, features: object, full_feature_names: bool) -> FeatureReader:
        """The reader of these features that earlier calls have prepared, or another one."""
        names = tuple(features) if isinstance(features, list | tuple) else features
        known: object = (names, full_feature_names)
        try:
            reader = self._readers.get(known)
        except TypeError:  # selections, or not names at all: resolving them says what is wrong
            known = reader = None
        if reader is None:
            reader = FeatureReader(
                self._views,
                self._online_store,
                names,
                full_feature_names=full_feature_names,
                clock_us=self._clock_us,
                is_local=self._storage.is_local,
            )
            reader.resolution()
            if known is not None:
                if len(self._readers) >= _READERS:
                    self._readers.clear()
                self._readers[known] = reader
        return reader

    def _now(
        self,
        features: object,
        entities: Any,
        table: pa.Table,
        full_feature_names: bool,
        include_event_timestamps: bool,
    ) -> Features:
        """What the online store answers."""
        from featurestore.client.frames import typed_if_empty

        reader = self._reader(features, full_feature_names)
        plain = isinstance(entities, dict | list) and table.num_rows
        resolution, answer = reader.answer(entities if plain else table)
        table = typed_if_empty(table, resolution.key_types, None)
        resolution.names(table.column_names, full_feature_names)
        return self._features(entities, table, answer, include_event_timestamps, None)

    def _features(
        self,
        entities: Any,
        table: pa.Table,
        answer: Answer,
        include_event_timestamps: bool,
        timestamp_column: str | None,
    ) -> Features:
        from featurestore.client.features import Features
        from featurestore.client.frames import is_pandas

        return Features(
            table,
            answer,
            include_event_timestamps=include_event_timestamps,
            timestamp_column=timestamp_column,
            index=entities.index if is_pandas(entities) else None,
        )

    def _then(
        self,
        resolution: Resolution,
        names: Sequence[str],
        table: pa.Table,
        timestamp_column: str,
        as_of: datetime | date | str | None,
    ) -> Answer:
        """What the offline store answers for the times in a column."""
        from featurestore.client.answers import Answer
        from featurestore.client.entity_rows import key_table
        from featurestore.client.on_demand import ViewValues, with_computed
        from featurestore.client.times import microseconds, timestamp_us
        from featurestore.offline.join import Times, point_in_time
        from featurestore.views.value_column import arrow_columns, event_time_column

        if timestamp_column not in table.column_names:
            raise RequestError(
                "there is no such timestamp column",
                where="entities",
                wanted=f"a column {timestamp_column!r}",
                got=f"columns {table.column_names}",
                hint=did_you_mean(timestamp_column, table.column_names),
            )
        times_us, is_asked = microseconds(table.column(timestamp_column), timestamp_column)
        times = Times(times_us, is_asked, None if as_of is None else timestamp_us(as_of, "as_of"))
        view_values: list[ViewValues] = []
        commits: dict[str, int] = {}
        for read in resolution.reads:
            view, keys = read.view, key_table(read, table)
            query = FeatureQuery(view.name, view.spec, view.digest, read.outputs, keys)
            # A view in two roles is read at one version, whatever is committed meanwhile.
            values = point_in_time(self._storage, query, times, commits.get(view.name))
            if values.version is not None:
                commits[view.name] = values.version
            view_values.append(ViewValues(arrow_columns(read.outputs, values), event_time_column(values)))
        answers = with_computed(resolution, view_values, lambda: table, table.num_rows)
        named = list(zip(names, resolution.columns, strict=True))
        return Answer(
            {name: answers[column.place].columns[column.output.name] for name, column in named},
            {name: answers[column.place].event_times for name, column in named},
            commits,
            table.num_rows,
        )

    def _online_store(self) -> OnlineStore:
        root = self._storage.root
        if root not in self._opened:
            from featurestore.online.backends import open_online

            # All threads take one of those that they open at once: readers of another would keep what they read in memory, too.
            self._opened.setdefault(root, open_online(self._storage, self._project.store.spec))
        return self._opened[root]

    def _newest_commit(self, pipeline: str) -> int:
        from featurestore.storage.delta import Table

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
