"""A few entities, read online and by the point-in-time join at the same time: what was published is compared.

Which entities: some of a data file that came last, some of any file, and those that differed before. Those of one file
are neighbors in it, where rows are sorted by key, so that a join of them reads few row groups.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from featurestore.errors import FeatureStoreError, StorageError
from featurestore.offline.join import Times, point_in_time
from featurestore.online.answer import answer
from featurestore.online.backends import OnlineStore
from featurestore.online.consistency import (
    Consistency,
    OnlineDifference,
    read_consistency,
    record_consistency,
)
from featurestore.online.entities import Stored
from featurestore.online.entity_keys import KeyIndex, key_texts
from featurestore.online.layout import Form
from featurestore.online.packed.heap import UnreadableValue
from featurestore.online.reading import OnlineQuery
from featurestore.resources.feature_view import FeatureViewSpec
from featurestore.resources.outputs import outputs
from featurestore.storage import paths
from featurestore.storage.delta import DataFile, Table
from featurestore.storage.objects import Storage
from featurestore.storage.row_groups import RowGroups
from featurestore.timestamps import SECOND_US
from featurestore.views.builds import PublishResult
from featurestore.views.feature_query import FeatureQuery, FeatureValues
from featurestore.views.value_column import arrow_columns

_TOLD = 10
"""So many differences are kept."""
_SPAN = 64
"""So many rows are looked through for each entity."""

_SMALL_ROWS = 500_000
"""A table of so many rows is read at once for all entities, wherever in it they are."""
_MANY_FILES, _PAUSE_US = 16, 30 * SECOND_US
"""A table of more files is not looked at again within this time: each look reads them all, while batches wait."""

log = logging.getLogger(__name__)


def check(
    storage: Storage, online: OnlineStore, spec: FeatureViewSpec, published: PublishResult, now_us: int
) -> None:
    """Read a sample both ways, and keep what was found. Whatever it meets, what was published stands.

    ``spec``: what the build was published by. Nothing is kept if there is nothing to compare, another version is
    online by now, or a table of many files was compared a short while ago.
    """
    view, digest = published.view, published.digest
    if spec.online.sample_entities == 0:
        return
    try:
        known = read_consistency(storage, view, digest)
        consistency = _Check(storage, online, spec, published, now_us).run(known)
        if consistency is not None:
            record_consistency(storage, view, digest, consistency)
    except Exception as error:  # noqa: BLE001 - whatever the look met, what was published stands
        why = error.problem if isinstance(error, FeatureStoreError) else type(error).__name__
        log.warning("view %s was published, and not compared: %s", view, why)
        failed = Consistency(version=published.version, entities=0, failure=why, checked_us=now_us)
        try:
            record_consistency(storage, view, digest, failed)
        except StorageError as second:
            log.warning("and that was not kept: %s", second)


@dataclass(frozen=True)
class _Sampled:
    """Entities, each once, and a file and row of each. ``keys``: ``table[<join keys>]``."""

    places: Sequence[tuple[str, int]]
    keys: pa.Table

    @classmethod
    def of(cls, places: Sequence[tuple[str, int]], keys: pa.Table, most: int | None = None) -> _Sampled:
        """The first ``most`` entities of these rows."""
        first: dict[bytes, int] = {}
        for place, key in enumerate(key_texts(keys).to_pylist()):
            if key is not None and key not in first:
                first[key] = place
                if len(first) == most:
                    break
        chosen = list(first.values())
        return cls([places[place] for place in chosen], keys.take(chosen))

    @classmethod
    def joined(cls, parts: Sequence[_Sampled]) -> _Sampled:
        places = [place for part in parts for place in part.places]
        return cls.of(places, pa.concat_tables([part.keys for part in parts]))


@dataclass(frozen=True)
class _Check:
    storage: Storage
    online: OnlineStore
    spec: FeatureViewSpec
    published: PublishResult
    now_us: int

    def run(self, known: Consistency | None) -> Consistency | None:
        table = self._table()
        files = table.files()
        if len(files) > _MANY_FILES and self._is_recent(known):
            return None
        came = self._came(table, files, known)
        entities, differences = 0, []
        samples = self._samples(table, files, came, known)
        if samples and sum(file.rows for file in files) <= _SMALL_ROWS:
            samples = [_Sampled.joined(samples)]
        for sampled in samples:
            stored = self._stored(sampled.keys)
            if stored is None:
                return None
            entities += sampled.keys.num_rows
            differences += self._compare(sampled, *stored)
        if not entities:
            return None
        different = {difference.place: difference for difference in differences}
        return Consistency(
            version=self.published.version,
            entities=entities,
            differing=len(different),
            differences=tuple(different.values())[:_TOLD],
            checked_us=self.now_us,
        )

    def _is_recent(self, known: Consistency | None) -> bool:
        """Whether nothing was wrong a short while ago."""
        if known is None or known.failure is not None or known.differing:
            return False
        return 0 <= self.now_us - known.checked_us < _PAUSE_US

    def _table(self) -> Table:
        path = paths.features(self.published.view, self.published.digest)
        table = Table.open(self.storage, path, self.published.version)
        if table is None:
            raise StorageError("the view's table is gone", where=self.storage.uri(path))
        return table

    def _came(self, table: Table, files: Sequence[DataFile], known: Consistency | None) -> Sequence[DataFile]:
        """Files of rows that came since the last check; all if that cannot be told."""
        if known is None or known.version >= table.version:
            return files
        try:
            return table.changes(known.version).added
        except StorageError:
            return files

    def _samples(
        self,
        table: Table,
        files: Sequence[DataFile],
        came: Sequence[DataFile],
        known: Consistency | None,
    ) -> list[_Sampled]:
        # The same version samples the same entities, whoever publishes it.
        chance, wanted = np.random.default_rng(self.published.version), self.spec.online.sample_entities
        half, samples = (wanted + 1) // 2, []
        shares = [(came, half), (files, wanted - half)] if len(came) < len(files) else [(files, wanted)]
        for some, share in shares:
            some = [file for file in some if file.rows]
            if not some or not share:
                continue
            weights = np.array([file.rows for file in some], np.float64)
            file = some[int(chance.choice(len(some), p=weights / weights.sum()))]
            span = min(file.rows, share * _SPAN)
            start = int(chance.integers(0, file.rows - span + 1))
            samples.append(self._sample(table, file, range(start, start + span), share))
        by_path = {file.path: file for file in files}
        again: dict[str, list[int]] = {}
        for difference in known.differences if known else ():
            again.setdefault(difference.file, []).append(difference.row)
        for path, rows in again.items():
            if path in by_path:
                samples.append(self._sample(table, by_path[path], sorted(rows), len(rows)))
        return samples

    def _sample(self, table: Table, file: DataFile, rows: Sequence[int], most: int) -> _Sampled:
        """The entities of these rows of a file, each once."""
        schema = Form.of(self.spec).keys
        fetched = RowGroups.of(table, {}, [file]).fetch(schema, np.array(rows, np.int64))
        return _Sampled.of([(file.path, row) for row in rows], fetched, most)

    def _stored(self, keys: pa.Table) -> tuple[Stored, set[int]] | None:
        """What is online of the entities, and places of those of which nothing can be read; None if not of this version."""
        texts, form = key_texts(keys), Form.of(self.spec)
        where = self.published.view, self.published.digest, form
        try:
            stored = self.online.stored(*where, texts)
            return None if stored is None or stored[0] != self.published.version else (stored[1], set())
        except UnreadableValue:
            pass
        parts, unreadable = [Stored.empty(form)], set()
        for place in range(len(texts)):
            try:
                stored = self.online.stored(*where, texts.slice(place, 1))
            except UnreadableValue:
                unreadable.add(place)
                continue
            if stored is None or stored[0] != self.published.version:
                return None
            parts.append(stored[1])
        return Stored.joined(parts), unreadable

    def _compare(self, sampled: _Sampled, stored: Stored, unreadable: set[int]) -> list[OnlineDifference]:
        place = KeyIndex.of(stored.keys).find(key_texts(sampled.keys))
        # A clock that is behind the publisher's reads as of publish time.
        at_us = np.full(len(place), self.now_us, np.int64)
        present = place >= 0
        at_us[present] = np.maximum(stored.published_us[place[present]], self.now_us)
        asked = outputs(self.spec)
        query = OnlineQuery(self.published.view, self.spec, self.published.digest, tuple(asked))
        online = self._shown(answer(query, stored, place, self.now_us))
        offline = self._offline(sampled.keys, at_us, self.published.version)
        suspects = [n for n in range(len(place)) if n in unreadable or online[n] != offline[n]]
        if not suspects:
            return []
        # Whoever publishes a later version meanwhile has values of that one stored already.
        later = self._offline(sampled.keys.take(suspects), at_us[suspects], None)
        names = [output.name for output in asked]
        differences = []
        for newer, n in zip(later, suspects, strict=True):
            if n in unreadable:
                differences.append(
                    OnlineDifference(
                        file=sampled.places[n][0], row=sampled.places[n][1], outputs=tuple(names)
                    )
                )
            elif online[n] != newer:
                pairs = zip(names, online[n], offline[n], strict=True)
                which = tuple(name for name, left, right in pairs if left != right)
                differences.append(
                    OnlineDifference(file=sampled.places[n][0], row=sampled.places[n][1], outputs=which)
                )
        return differences

    def _offline(
        self, keys: pa.Table, at_us: np.ndarray[tuple[int], np.dtype[np.int64]], version: int | None
    ) -> list[list[str]]:
        query = FeatureQuery(self.published.view, self.spec, self.published.digest, outputs(self.spec), keys)
        times = Times(at_us, np.ones(len(at_us), np.bool_))
        return self._shown(point_in_time(self.storage, query, times, version))

    def _shown(self, values: FeatureValues) -> list[list[str]]:
        """Of each entity its values with their statuses, as text: not a number equals itself, and minus zero is not zero."""
        listed = [
            [
                f"{value!r} {status}"
                for value, status in zip(column.to_list(), column.statuses.tolist(), strict=True)
            ]
            for column in arrow_columns(outputs(self.spec), values).values()
        ]
        return [list(each) for each in zip(*listed, strict=True)]
