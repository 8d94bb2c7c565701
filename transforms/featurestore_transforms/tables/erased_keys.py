"""Which rows are of erased keys: found by salted hashes, in datasets, in views, and in the records of quarantines."""

from __future__ import annotations

import json
import re
import sys
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
_MOST_TRIED = 100_000
"""So many combinations of values are tried as a key of several columns; where there are more, it counts as found."""
_SEPARATOR = re.compile(r"[\s,;|'\"()\[\]{}]")
_ESCAPED = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "a": "\a", "v": "\v"}
_CUT = "…"
"""What ends a value that is too long to be shown."""
ERASED = "[erased]"
_REMEMBERED = 100_000
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

    def are_heeded(self, isolation: Isolation) -> bool:
        """Whether all parts of a halved batch that were read left these keys out."""
        return all(trial.part["erasure"] == self.number for trial in isolation.parts)

    def arriving(self, manifest: Manifest) -> Callable[[pl.DataFrame], pl.Series]:
        """Which rows of a batch are erased. What is run again counts as of the batch that it came with."""
        came = [entry.replays[0] if entry.replays else manifest.number for entry in manifest.entries]
        return lambda rows: self.flags(rows, came)

    def flags(self, rows: pl.DataFrame, came: Sequence[int] | None = None) -> pl.Series:
        """One ``bool`` per row of ``frame[<join keys>, __batch, __file, …]``; without a join key, none of its keys is there.

        ``came``: index of a file to the batch that it came with; else all rows came with their own.
        """
        flags = pl.repeat(False, rows.height, eager=True)
        for group in self._groups:
            flags |= group.flags(rows, came)
        return flags

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

    def blanked(self, reason: str | None, record: str | None, batch: int = 0) -> str | None:
        """The reason why a row was refused, or a file if there is no ``record``; ``[erased]`` if it may show a key.

        It does if it holds the text of one; or if it cuts a value short, and the record holds one or cannot be asked.
        ``batch``: as in :meth:`in_record`; 0: all keys are meant.
        """
        if not reason:
            return reason
        shown = self.named_in(reason, batch)
        if not shown and _CUT in reason:
            shown = record is None or any(self.named_in(text, batch) for text in _texts(json.loads(record)))
        return ERASED if shown else reason

    def named_in(self, text: str, batch: int = 0) -> bool:
        """Whether a text holds a key between other words, as it is, in quotes or escaped."""
        known = self._named.get((text, batch))
        if known is None:
            if len(self._named) >= _REMEMBERED:
                self._named.clear()
            known = self._named[text, batch] = any(group.named_in(text, batch) for group in self._groups)
        return known

    @cached_property
    def _named(self) -> dict[tuple[str, int], bool]:
        """Of texts that were looked at: reasons are alike."""
        return {}

    @cached_property
    def _groups(self) -> list[_Group]:
        """Keys that are hashed alike: each is hashed once, however many erasures there are."""
        groups: dict[tuple[str, tuple[tuple[str, str], ...]], dict[str, int]] = {}
        lengths: dict[tuple[str, tuple[tuple[str, str], ...]], list[set[int]]] = {}
        for erasure in self.erasures:
            last = erasure.pipelines[self.pipeline]
            known = groups.setdefault((erasure.salt, erasure.keys), {})
            for each in erasure.hashes:
                known[each] = max(known.get(each, 0), _FOR_EVER if last is None else last)
            of_group = lengths.setdefault((erasure.salt, erasure.keys), [set() for _ in erasure.keys])
            for all_of_key, some in zip(of_group, erasure.lengths, strict=True):
                all_of_key.update(some)
        return [_Group(*which, known, tuple(lengths[which])) for which, known in groups.items()]


@dataclass(frozen=True, slots=True)
class _Group:
    """``last``: hash of a key to the last batch whose arrivals are erased. ``lengths``: of each join key's texts."""

    salt: str
    keys: tuple[tuple[str, str], ...]
    last: Mapping[str, int]
    lengths: tuple[Collection[int], ...]

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
        last_batch = keys.join(gone, on=keys.columns, how="left", maintain_order="left")["last"]
        if (gone["last"] == _FOR_EVER).all():
            return last_batch.is_not_null()
        batches = rows[BATCH] if came is None else pl.Series(came, dtype=pl.Int64).gather(rows[FILE])
        return (batches <= last_batch).fill_null(False)

    def in_record(self, value: Any, batch: int, traced: Traced) -> bool:
        tried = []
        for (name, _), lengths in zip(self.keys, self.lengths, strict=True):
            here = [each for each in traced.get(name, (name,)) or () if each in value]
            if here:
                tried.append([text for text in (_text(value[each]) for each in here) if text is not None])
            else:
                # A malformed line is one text, and holds the key between others.
                parts = (part for text in _texts(value) for part in _parts(text, lengths, _apart))
                tried.append(list(dict.fromkeys(parts)))
        return self._is_any(tried, batch)

    def named_in(self, text: str, batch: int) -> bool:
        """Whether the text holds one of the keys; one of several columns, if it holds the text of each."""
        return self._is_any([list(_parts(text, lengths, _between_words)) for lengths in self.lengths], batch)

    def _is_any(self, tried: Sequence[Sequence[str]], batch: int) -> bool:
        """Whether one of these texts of each join key together are a key."""
        if prod(map(len, tried)) > _MOST_TRIED and len(tried) > 1:
            return True
        return any((self.last_batch(key) or -1) >= batch for key in product(*tried))


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


def _texts(value: Any) -> Iterator[str]:
    """All single values of a record as texts."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)
        return
    text = _text(value)
    if text is not None:
        yield text


def _parts(text: str, lengths: Collection[int], may_end: Callable[[str, int], bool]) -> Iterator[str]:
    """Parts of a text with one of these lengths, in any of the ways to read it. ``may_end``: at which places."""
    for read in dict.fromkeys((text, text.replace('""', '"'), _unescaped(text))):
        ends = [may_end(read, at) for at in range(len(read) + 1)]
        for first in range(len(read)):
            if ends[first]:
                for length in lengths:
                    if first + length <= len(read) and ends[first + length]:
                        yield read[first : first + length]


def _apart(text: str, at: int) -> bool:
    """Whether what begins or ends here is set apart, as fields of a line are."""
    around = text[max(0, at - 1) : at + 1]
    return at in (0, len(text)) or any(_SEPARATOR.match(each) for each in around)


def _between_words(text: str, at: int) -> bool:
    """Whether this is not within a word or a number of ASCII; other scripts do not always set words apart."""
    around = text[max(0, at - 1) : at + 1]
    return len(around) < 2 or not (around.isascii() and around.isalnum())


def _unescaped(text: str) -> str:
    """The text with what JSON or Python spelled out."""

    def meant(match: re.Match[str]) -> str:
        code = match[1]
        if code[0] in "xuU" and len(code) > 1 and int(code[1:], 16) <= sys.maxunicode:
            return chr(int(code[1:], 16))
        return _CONTROLS.get(code, code)

    # JSON spells out what is beyond 16 bits as two codes.
    return _ESCAPED.sub(meant, text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, bool | dict | list):
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else None
    return str(value)
