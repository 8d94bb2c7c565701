"""Which rows are of erased keys: found by salted hashes, in datasets, in views, and in the records of quarantines."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

import polars as pl

from featurestore.arrivals.erasure import Erasure, Erasures, hash_key
from featurestore.arrivals.isolation import Isolation
from featurestore.arrivals.manifest import Manifest
from featurestore.expressions.run.cast import fit
from featurestore.resources.data_pipeline import DataPipelineSpec
from featurestore.storage.delta import BATCH, FILE
from featurestore.storage.objects import Storage

_FOR_EVER = 2**62
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

    def flags(self, rows: pl.DataFrame, came: Sequence[int] | None = None) -> pl.Series:
        """One ``bool`` per row of ``frame[<join keys>, __batch, __file, …]``; without a join key, none of its keys is there.

        ``came``: index of a file to the batch that it came with; else all rows came with their own.
        """
        found = pl.repeat(False, rows.height, eager=True)
        for group in self._groups:
            found |= group.flags(rows, came)
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
        return any(group.in_record(value, batch, traced) for group in self._groups)

    def redacted(self, text: str) -> str:
        """The text without what is, by itself, an erased key."""
        groups = [group for group in self._groups if len(group.keys) == 1]

        def shown(found: re.Match[str]) -> str:
            word = found[0]
            for each in (word, word.rstrip(".:")):
                if any(group.last_batch([each]) is not None for group in groups):
                    return word.replace(each, ERASED)
            return word

        return _BETWEEN.sub(shown, text)

    @cached_property
    def _groups(self) -> list[_Group]:
        """Keys that are hashed alike: each is hashed once, however many erasures there are."""
        found: dict[tuple[str, tuple[tuple[str, str], ...]], dict[str, int]] = {}
        for erasure in self.erasures:
            last = erasure.pipelines[self.pipeline]
            known = found.setdefault((erasure.salt, erasure.keys), {})
            for each in erasure.hashes:
                known[each] = max(known.get(each, 0), _FOR_EVER if last is None else last)
        return [_Group(salt, keys, known) for (salt, keys), known in found.items()]


@dataclass(frozen=True, slots=True)
class _Group:
    """``last``: hash of a key to the last batch whose arrivals are erased."""

    salt: str
    keys: tuple[tuple[str, str], ...]
    last: Mapping[str, int]

    def last_batch(self, texts: Sequence[str]) -> int | None:
        """Of this key; None if it was not erased."""
        return self.last.get(hash_key(self.salt, texts))

    def flags(self, rows: pl.DataFrame, came: Sequence[int] | None) -> pl.Series:
        nothing = pl.repeat(False, rows.height, eager=True)
        texts: list[pl.Expr] = []
        for name, kind in self.keys:
            fitted = fit(pl.col(name), rows.schema[name], kind) if name in rows.schema else None
            if fitted is None:
                return nothing
            texts.append(fitted.value.cast(pl.String).alias(f"k{len(texts)}"))
        keys = rows.select(texts)
        each = keys.unique().drop_nulls()
        last = pl.Series("last", [self.last_batch(key) for key in each.iter_rows()], dtype=pl.Int64)
        gone = each.with_columns(last).drop_nulls()
        if gone.is_empty():
            return nothing
        found = keys.join(gone, on=keys.columns, how="left", maintain_order="left")["last"]
        if (gone["last"] == _FOR_EVER).all():
            return found.is_not_null()
        batches = rows[BATCH] if came is None else pl.Series(came, dtype=pl.Int64).gather(rows[FILE])
        return (batches <= found).fill_null(False)

    def in_record(self, value: Any, batch: int, traced: Traced) -> bool:
        leaves: list[str | None] = list(dict.fromkeys(_leaves(value)))
        named = [
            [_text(value[each]) for each in traced.get(name, (name,)) or () if each in value] or leaves
            for name, _ in self.keys
        ]
        tried = [[text for text in texts if text is not None] for texts in named]
        if prod(map(len, tried)) > _MOST_TRIED:
            return False
        return any((self.last_batch(key) or 0) >= batch for key in product(*tried))


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
