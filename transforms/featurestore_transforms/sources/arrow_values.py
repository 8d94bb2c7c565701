"""Columns of record batches as Polars takes them: validated, of plain types, and with the rows that do not fit.

A decoder trusts offsets, lengths and codes. So no engine sees Arrow data of a file before Arrow has validated all of
it: what is broken is an error here and not the end of the process.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.storage.delta import ROW
from featurestore_transforms.sources.arrow_types import UntakenType, is_list, plain_type
from featurestore_transforms.sources.reader import UnreadableArrival
from featurestore_transforms.sources.stream import LINE, MALFORMED, same
from featurestore_transforms.steps.column_names import short

_PIECE_ROWS = 256
_OF_VALUES = (
    "Invalid UTF8",
    "does not fit in precision",
    "whole number of days",
    "acceptable range",
    "out of bounds timestamp",
    "occurs twice in a map",
)
"""What is said of a value. All else is said of how a column is laid out, and then none of its values counts."""
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class ColumnTypes:
    """``taken``: column to the plain type that it is read as. ``refused``: the others, and why no table holds
    them. ``names``: of both in plans to those in the file.
    """

    taken: Mapping[str, pa.DataType]
    refused: Mapping[str, str]

    names: Mapping[str, str]

    @classmethod
    def of(cls, schema: pa.Schema, names: Mapping[str, str], refused: Mapping[str, str]) -> ColumnTypes:
        """``names``: of columns in plans to those in the file. ``refused``: types of columns of the file that no table
        holds, whatever Arrow calls them.
        """
        taken: dict[str, pa.DataType] = {}
        reasons: dict[str, str] = {}
        for name, own in names.items():
            try:
                if own in refused:
                    raise UntakenType(refused[own])
                taken[name] = plain_type(schema.field(own).type)
            except UntakenType as error:
                reasons[name] = f"column {short(own)} is of type {error}"
        return cls(taken, reasons, names)

    @property
    def polars(self) -> dict[str, pl.DataType]:
        """The types of all columns: ``Unknown`` of those that are refused."""
        known = pl.Schema(pa.schema(list(self.taken.items())))
        return {name: known.get(name, pl.Unknown()) for name in self.names}

    def frame(
        self,
        batch: pa.RecordBatch,
        wanted: Collection[str],
        first: int,
        room_bytes: int,
        odd_times: Mapping[str, npt.NDArray[np.bool_]],
    ) -> pl.DataFrame:
        """``frame[<wanted columns>, __row, __malformed, __line]``, its rows numbered from ``first`` on.

        A value that does not fit its own type, or the plain one, is null, and its row malformed. ``odd_times``: where
        a time was lost before.

        Raises:
            UnreadableArrival: a column is not laid out as its type says, or unfolds to more than ``room_bytes``.
        """
        columns: list[pl.Series] = []
        why: dict[int, str] = {}
        for name, dtype in self.taken.items():
            if name in wanted:
                own = self.names[name]
                values, odd = _plain_rows(own, batch.column(own), dtype, room_bytes)
                columns.append(pl.Series(name, values))
                why = {**odd, **why}
        for name, lost in odd_times.items():
            reason = f"{name}: a time finer than microseconds, or beyond their range"
            why = {**dict.fromkeys(np.flatnonzero(lost).tolist(), reason), **why}
        rows = batch.num_rows
        numbers = pl.int_range(first, first + rows, dtype=pl.Int64, eager=True).alias(ROW)
        return pl.DataFrame([*columns, numbers, _reasons(why, rows), same(LINE, None, pl.String(), rows)])


def _reasons(why: Mapping[int, str], rows: int) -> pl.Series:
    """Why each row is malformed; null for those that are not."""
    if not why:
        return same(MALFORMED, None, pl.String(), rows)
    return pl.Series(MALFORMED, [why.get(row) for row in range(rows)], dtype=pl.String)


def _plain_rows(
    name: str, array: pa.Array, wanted: pa.DataType, room_bytes: int
) -> tuple[pa.Array, dict[int, str]]:
    """The values in the plain type, and why a row has none."""
    try:
        return _plain_valid(array, wanted, room_bytes), {}
    except pa.ArrowInvalid as error:
        _require_of_value(name, error)
    odd: dict[int, str] = {}
    parts: list[pa.Array] = []
    for first in range(0, len(array), _PIECE_ROWS):
        piece = array.slice(first, _PIECE_ROWS)
        try:
            parts.append(_plain_valid(piece, wanted, room_bytes))
        except pa.ArrowInvalid:
            for row in range(len(piece)):
                try:
                    parts.append(_plain_valid(piece.slice(row, 1), wanted, room_bytes))
                except pa.ArrowInvalid as error:
                    _require_of_value(name, error)
                    odd[first + row] = f"{name}: {_line(error)}"
                    parts.append(pa.nulls(1, wanted))
    return pa.concat_arrays(parts), odd


def _plain_valid(array: pa.Array, wanted: pa.DataType, room_bytes: int) -> pa.Array:
    array.validate(full=True)
    made = _plain(array, wanted, room_bytes)
    if made.type != wanted:
        made = made.cast(wanted)
    return made


def _require_of_value(name: str, error: Exception) -> None:
    if not any(text in str(error) for text in _OF_VALUES):
        raise UnreadableArrival("file:corrupt", f"column {name!r}: {_line(error)}") from error


def _line(error: Exception) -> str:
    text = (str(error) or type(error).__name__).splitlines()[0]
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _plain(array: pa.Array, wanted: pa.DataType, room_bytes: int) -> pa.Array:
    """The values, nested ones from the inside out, in types that Polars takes; most are as they were.

    Raises:
        ArrowInvalid: a value has no place in the plain type.
    """
    dtype = array.type
    kinds = pa.types
    if isinstance(dtype, pa.BaseExtensionType):
        return _storage(array, wanted, room_bytes)
    if kinds.is_dictionary(dtype):
        _require_room(array, array.dictionary, room_bytes)
        return _plain(array.dictionary_decode(), wanted, room_bytes)
    if kinds.is_run_end_encoded(dtype):
        _require_room(array, array.values, room_bytes)
        return _plain(pc.run_end_decode(array), wanted, room_bytes)
    if is_list(dtype):
        lengths = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False)
        items = _plain(array.flatten(), wanted.value_type, room_bytes)
        return pa.LargeListArray.from_arrays(_offsets(lengths), items, mask=_mask(array))
    if pa.types.is_null(wanted):
        return pa.nulls(len(array))
    if kinds.is_struct(dtype):
        fields = [
            _plain(part, wanted.field(place).type, room_bytes) for place, part in enumerate(array.flatten())
        ]
        return pa.StructArray.from_arrays(fields, fields=list(wanted), mask=_mask(array))
    if kinds.is_map(dtype):
        return _map(array, wanted, room_bytes)
    return array if dtype == wanted else array.cast(wanted)


def _storage(array: pa.ExtensionArray, wanted: pa.DataType, room_bytes: int) -> pa.Array:
    if array.type.extension_name != "arrow.uuid":
        return _plain(array.storage, wanted, room_bytes)
    texts = pl.Series(array.storage.cast(pa.binary())).bin.encode("hex")
    dashed = texts.str.replace(r"^(.{8})(.{4})(.{4})(.{4})(.{12})$", "$1-$2-$3-$4-$5")
    return dashed.to_arrow().cast(wanted)


def _map(array: pa.MapArray, wanted: pa.MapType, room_bytes: int) -> pa.Array:
    entries = array.cast(pa.list_(pa.struct([("key", array.type.key_type), ("value", array.type.item_type)])))
    lengths = pc.list_value_length(entries).fill_null(0).to_numpy(zero_copy_only=False)
    keys, items = entries.flatten().flatten()
    keys, items = _plain(keys, wanted.key_type, room_bytes), _plain(items, wanted.item_type, room_bytes)
    place = np.repeat(np.arange(len(lengths)), lengths)
    twice = pl.DataFrame([pl.Series("row", place), pl.Series("key", keys)]).is_duplicated()
    if twice.any():
        raise pa.ArrowInvalid(f"the key {keys[twice.arg_true()[0]].as_py()!r} occurs twice in a map")
    return pa.MapArray.from_arrays(_offsets(lengths).cast(pa.int32()), keys, items, mask=_mask(array))


def _offsets(lengths: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]), pa.int64())


def _mask(array: pa.Array) -> pa.Array | None:
    return array.is_null() if array.null_count else None


def _require_room(array: pa.Array, values: pa.Array, room_bytes: int) -> None:
    """Raises UnreadableArrival if the values of a dictionary or of runs, one for each row, take more than ``room_bytes``."""
    size = len(array) * (values.nbytes // max(len(values), 1))
    if size > room_bytes:
        raise UnreadableArrival(
            "file:tooLarge",
            f"values unfold to {size:,} bytes at once, and there is room for {room_bytes:,}. "
            "Raise spec.resources.memory if this is meant",
        )
