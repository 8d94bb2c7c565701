"""Which rows are of erased keys: found by salted hashes, in datasets, in views, and in the records of quarantines."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

import polars as pl

from featurestore.arrivals.erasure import Erasure, Erasures
from featurestore.arrivals.isolation import Isolation
from featurestore.arrivals.manifest import Manifest
from featurestore.expressions.run.cast import fit
from featurestore.resources.data_pipeline import DataPipelineSpec
from featurestore.storage.delta import BATCH, FILE
from featurestore.storage.objects import Storage

_MOST_TRIED = 10_000
"""So many combinations of a record's values are tried as a key of several columns."""
_BETWEEN = re.compile(r"[^\s,;|\t'\"()\[\]{}]+")
ERASED = "[erased]"
Traced = Mapping[str, Collection[str] | None]


@dataclass(frozen=True)
class ErasedKeys:
    """The keys of some erasures of one pipeline. ``number``: the greatest number of an erasure when this was read."""

    pipeline: str
    number: int
    erasures: tuple[Erasure, ...]

    @classmethod
    def read(cls, storage: Storage, pipeline: str) -> ErasedKeys:
        """All of them until now.

        Raises:
            StorageError: storage did not answer.
        """
        known = Erasures(storage)
        last = known.last()
        return cls(pipeline, last, tuple(known.upto(last, pipeline)) if last else ())

    @classmethod
    def of(cls, pipeline: str, erasure: Erasure) -> ErasedKeys:
        """Of one erasure alone."""
        return cls(pipeline, erasure.number, (erasure,))

    def __bool__(self) -> bool:
        return bool(self.erasures)

    def are_heeded(self, found: Isolation) -> bool:
        """Whether all parts of a halved batch that were read left these keys out."""
        return all(trial.part["erasure"] == self.number for trial in found.parts)

    def arriving(self, manifest: Manifest) -> Callable[[pl.DataFrame], pl.Series]:
        """Which rows of a batch are erased. What is run again counts as of the batch that it came with."""
        came = [entry.replays[0] if entry.replays else manifest.number for entry in manifest.entries]
        return lambda rows: self.flags(rows, came)

    def flags(self, rows: pl.DataFrame, came: list[int] | None = None) -> pl.Series:
        """One ``bool`` per row of ``frame[<join keys>, __batch, __file, …]``; without a join key, none of its keys is there.

        ``came``: index of a file to the batch that it came with; else all rows came with their own.
        """
        found = pl.repeat(False, rows.height, eager=True)
        for erasure in self.erasures:
            found |= _flags(rows, erasure, self._hashes[erasure.number]) & self._meant(rows, erasure, came)
        return found

    def may_hold(self, erasure: Erasure, columns: Collection[str]) -> bool:
        """Whether rows with these columns can be of its keys."""
        return all(name in columns for name in erasure.names)

    def in_record(self, record: str | None, batch: int, traced: Traced) -> bool:
        """Whether a quarantined row is of an erased key. ``record``: the row as JSON.

        ``traced``: join key to the names that it may have there, as :func:`trace` gives them; else its own. Where that
        cannot be told, or the record lacks them, any of its values may be the key.
        """
        if record is None:
            return False
        value = json.loads(record)
        return any(
            erasure.is_meant(self.pipeline, batch)
            and _names(value, erasure, self._hashes[erasure.number], traced)
            for erasure in self.erasures
        )

    def redacted(self, text: str) -> str:
        """The text without what is, by itself, an erased key."""
        hashes = [(each, self._hashes[each.number]) for each in self.erasures if len(each.keys) == 1]

        def shown(found: re.Match[str]) -> str:
            word = found[0]
            for each in (word, word.rstrip(".:")):
                if any(erasure.hash_of([each]) in known for erasure, known in hashes):
                    return word.replace(each, ERASED)
            return word

        return _BETWEEN.sub(shown, text)

    @cached_property
    def _hashes(self) -> dict[int, frozenset[str]]:
        return {erasure.number: frozenset(erasure.hashes) for erasure in self.erasures}

    def _meant(self, rows: pl.DataFrame, erasure: Erasure, came: list[int] | None) -> pl.Series:
        last = erasure.pipelines[self.pipeline]
        if last is None:
            return pl.repeat(True, rows.height, eager=True)
        if came is None:
            return rows[BATCH] <= last
        meant = [file for file, batch in enumerate(came) if batch <= last]
        return rows[FILE].is_in(pl.Series(meant, dtype=pl.Int32).implode())


def trace(spec: DataPipelineSpec, key: str) -> Collection[str] | None:
    """The names of the source columns that become this column of the dataset unchanged; None if it is computed."""
    names = {key}
    for step in reversed(spec.transforms):
        if step.sql is not None or step.python is not None:
            return None
        if step.derive is not None and names & set(step.derive.columns):
            return None
        if step.lookup is not None and names & set(step.lookup.columns.values()):
            return None
        if step.rename is not None:
            old = {new: name for name, new in step.rename.columns.items()}
            names = {old.get(name, name) for name in names}
    return names


def _flags(rows: pl.DataFrame, erasure: Erasure, known: Collection[str]) -> pl.Series:
    nothing = pl.repeat(False, rows.height, eager=True)
    texts: list[pl.Expr] = []
    for name, kind in erasure.keys:
        if name not in rows.schema:
            return nothing
        fitted = fit(pl.col(name), rows.schema[name], kind)
        if fitted is None:
            return nothing
        texts.append(fitted.value.cast(pl.String).alias(f"k{len(texts)}"))
    keys = rows.select(texts)
    each = keys.unique().drop_nulls()
    hit = [erasure.hash_of(key) in known for key in each.iter_rows()]
    if not any(hit):
        return nothing
    gone = each.filter(pl.Series(hit))
    at = keys.with_row_index("at").join(gone, on=keys.columns, how="semi")["at"]
    return pl.int_range(rows.height, dtype=pl.UInt32, eager=True).is_in(at.implode())


def _names(value: Any, erasure: Erasure, known: Collection[str], traced: Traced) -> bool:
    leaves: list[str | None] = list(dict.fromkeys(_leaves(value)))
    columns = [traced.get(name, (name,)) for name in erasure.names]
    named = [[_text(value[name]) for name in names or () if name in value] or leaves for names in columns]
    tried = [[text for text in texts if text is not None] for texts in named]
    if prod(map(len, tried)) > _MOST_TRIED:
        return False
    return any(erasure.hash_of(key) in known for key in product(*tried))


def _leaves(value: Any) -> Iterator[str]:
    """All single values of a record as texts, and the words of its texts: a malformed line is one text."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _leaves(each)
        return
    text = _text(value)
    if text is not None:
        yield text
        if isinstance(value, str):
            yield from _BETWEEN.findall(value)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, bool | dict | list):
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else None
    return str(value)
