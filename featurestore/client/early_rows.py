"""Rows that are read online from the moment that they are pushed: what a push does before and after it is durable.

First it announces itself at each build that is read, then its file is written, and then its values are put, if they still
are ahead of everything that is published. Nothing of this decides whether the rows are taken: what fails is said, and the
batch brings the rows as it brings all others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from featurestore.arrivals.ledger import Ledger
from featurestore.errors import CodeError, FeatureStoreError, SpecError
from featurestore.failpoint import hit
from featurestore.online.entity_keys import key_texts
from featurestore.online.layout import Form
from featurestore.registry.registry import Registry
from featurestore.resources import FeatureView
from featurestore.resources.data_pipeline import DataPipelineSpec, Suspend
from featurestore.resources.feature_view import FeatureViewSpec
from featurestore.resources.immediate_check import NEEDS_REDIS, is_immediate, lacks_of_pipeline
from featurestore.storage.objects import Storage
from featurestore.views.builds import wanted_build
from featurestore.views.served import ServedViews

if TYPE_CHECKING:
    from featurestore.online.backends import OnlineStore
    from featurestore.online.immediate import ImmediateValues, PushedFile

COMPUTED_BY = "featurestore_transforms.views.pushed_features"
"""The module that has ``PushedFeatures``. A name, because this package does not have the data engine."""
_TIMEOUT_S = 1.0
"""How long the online store may take to answer a push: the rows are taken without it, too."""
_KNOWN_S = 5.0
"""How long it is trusted which views want rows early, and which builds of them there are."""
_NOT_PUBLISHED = "nothing of the view is published yet"
_SETTLED = "a batch has taken the rows already"


@dataclass(frozen=True)
class _Build:
    """A build that is read, or will be. ``values``: None if they cannot be put, for the reason ``lack``."""

    view: str
    spec: FeatureViewSpec
    values: ImmediateValues | None
    lack: str = NEEDS_REDIS


class Announced:
    """A push that is announced at ``builds``, of which each has the rows in its table of ``features``.

    ``online``: of each view "", or why its rows are not read yet. Whether a batch has taken the push already, and which keys
    are erased, is asked for while the rows are made durable: after the push was announced, so that whoever takes or erases
    later takes back what is put.
    """

    def __init__(self, early: EarlyRows, push: str, file: PushedFile, online: dict[str, str]) -> None:
        self._early, self._push, self._file, self.online = early, push, file, online
        self._builds: list[tuple[int, _Build]] = []
        self._features: Any = None
        self._checks: Future[tuple[bool, list[pa.Table]]] | None = None

    def at(self, builds: Sequence[_Build], features: Any, now_us: int) -> None:
        """Announce it at these builds."""
        self._features = features
        for number, build in enumerate(builds):
            table: pa.Table = features.tables[number]
            if table.num_rows and self._did(build, partial(self._announce, build, table, now_us)):
                self._builds.append((number, build))
        hit("after-announce")
        if self._builds:
            self._checks = Future()
            threading.Thread(target=self._check, args=(self._checks,), daemon=True).start()

    def put(self) -> dict[str, str]:
        """Have the rows read, which are durable now; and of each view why they are not, "" if they are."""
        if self._checks is None:
            return self.online
        try:
            is_taken, tables = self._checks.result()
        except FeatureStoreError as error:
            self.online |= {build.view: _because(error) for _, build in self._builds}
            return self.online
        now_us = self._early.clock_us()
        for number, build in self._builds:
            if is_taken:
                self.online[build.view] = _SETTLED
            elif tables[number].num_rows:
                self._did(build, partial(self._put, build, tables[number], now_us))
        hit("after-immediate")
        return self.online

    def _announce(self, build: _Build, table: pa.Table, now_us: int) -> str:
        assert build.values is not None
        keys = key_texts(table.select([key.name for key in build.spec.entity.join_keys])).unique()
        return "" if build.values.announce(self._push, self._file, keys, now_us) else _NOT_PUBLISHED

    def _put(self, build: _Build, table: pa.Table, now_us: int) -> str:
        assert build.values is not None
        return "" if build.values.put(self._push, self._file, table, now_us) else _SETTLED

    def _check(self, checks: Future[tuple[bool, list[pa.Table]]]) -> None:
        try:
            tables = self._features.not_erased(self._early.storage, self._file.pipeline)
            checks.set_result((self._early.is_taken(self._file), tables))
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            checks.set_exception(error)

    def _did(self, build: _Build, step: Callable[[], str]) -> bool:
        """Whether a step was done; else why it was not is said of the view."""
        try:
            why = step()
        except FeatureStoreError as error:
            why = _because(error)
        # Of two builds of a view, the one that is not read yet must not say that rows are.
        self.online[build.view] = self.online.get(build.view) or why
        return not why


class EarlyRows:
    """Kept for the life of a process. ``clock_us``: UTC microseconds. Safe to use from several threads."""

    def __init__(
        self, storage: Storage, open_online: Callable[[], OnlineStore], clock_us: Callable[[], int]
    ) -> None:
        self.storage, self.clock_us = storage, clock_us
        self._open_online = open_online
        self._served, self._registry = ServedViews(storage), Registry(storage)
        self._known: dict[str, tuple[float, list[_Build]]] = {}
        self._values: dict[tuple[str, str], ImmediateValues | None] = {}
        self._ledgers: dict[str, tuple[threading.Lock, Ledger]] = {}

    def announce(
        self, pipeline: str, spec: DataPipelineSpec, rows: pa.Table, file: PushedFile, push: str
    ) -> Announced:
        """Announce a push whose rows are not durable yet, where views want them early. What fails is said of each view.

        Raises:
            StorageError: storage did not answer: which views there are is not known.
        """
        known = self._of(pipeline)
        announced = Announced(self, push, file, {build.view: "" for build in known})
        why = _lack(spec)
        if why:
            announced.online = dict.fromkeys(announced.online, why)
            return announced
        announced.online |= {build.view: build.lack for build in known if build.values is None}
        builds = [build for build in known if build.values is not None]
        if not builds:
            return announced
        now_us = self.clock_us()
        try:
            engine: Any = import_module(COMPUTED_BY)
            features = engine.PushedFeatures(spec, [build.spec for build in builds], rows, now_us)
        except (FeatureStoreError, ImportError) as error:
            announced.online |= {build.view: str(error) for build in builds}
            return announced
        announced.at(builds, features, now_us)
        return announced

    def is_taken(self, file: PushedFile) -> bool:
        """Whether a batch has taken this file.

        Raises:
            StorageError: storage did not answer.
        """
        known = self._ledgers.get(file.pipeline)
        if known is None:
            ledger = Ledger(self.storage, file.pipeline)
            ledger.uid()
            known = self._ledgers.setdefault(file.pipeline, (threading.Lock(), ledger))
        with known[0]:
            known[1].last_batch()  # What it remembers is brought up to date.
            return bool(known[1].known(file.uri))

    def _of(self, pipeline: str) -> list[_Build]:
        until_s, builds = self._known.get(pipeline, (0.0, []))
        now_s = time.monotonic()
        if until_s < now_s:
            kept = self._ledgers.get(pipeline)
            if kept is not None and not kept[1].is_current():
                del self._ledgers[pipeline]
            builds = self._builds(pipeline)
            self._known[pipeline] = now_s + _KNOWN_S, builds
        return builds

    def _builds(self, pipeline: str) -> list[_Build]:
        """Of each view that wants rows early the build that serves, and the one that will."""
        builds = []
        for name, accepted in self._registry.all(FeatureView).items():
            spec = accepted.resource.spec
            if not isinstance(accepted.resource, FeatureView) or spec.source.pipeline != pipeline:
                continue
            specs = {wanted_build(self.storage, accepted, Ledger(self.storage, pipeline).dataset_id()): spec}
            served = self._served.find(name)
            if served is not None and served.spec.source.pipeline == pipeline:
                specs[served.digest] = served.spec
            for digest, each in specs.items():
                if is_immediate(each) and each.suspend is Suspend.ACTIVE:
                    builds.append(self._build(name, digest, each))
        return builds

    def _build(self, view: str, digest: str, spec: FeatureViewSpec) -> _Build:
        try:
            if (view, digest) not in self._values:
                self._values[view, digest] = self._open_online().immediate(
                    view,
                    digest,
                    Form.of(spec),
                    has_created=spec.created_timestamp_field is not None,
                    timeout_s=_TIMEOUT_S,
                )
            return _Build(view, spec, self._values[view, digest])
        except (SpecError, CodeError) as error:
            # A Redis that cannot be reached from here, or no package for it.
            return _Build(view, spec, None, str(error))


def _lack(spec: DataPipelineSpec) -> str:
    """Why rows of this pipeline cannot be read early, whatever a view says; "" if they can."""
    lacks = [why for _, why in lacks_of_pipeline(spec)]
    if spec.suspend is Suspend.SUSPENDED:
        lacks.append("the pipeline is suspended")
    return "; ".join(lacks)


def _because(error: FeatureStoreError) -> str:
    return f"{error.problem}: {error.got}" if error.got else error.problem
