"""Rows of messages whose columns a schema in the spec says, whatever the values are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import polars as pl

from featurestore.resources.message_type import MessageType
from featurestore_transforms.sources.message_dtype import message_dtype
from featurestore_transforms.sources.stream import LINE, MALFORMED
from featurestore_transforms.steps.column_names import ColumnNames


class SchemaRows:
    """``columns``: of the schema, by the names of their fields."""

    def __init__(self, columns: Mapping[str, MessageType]) -> None:
        self.names = ColumnNames.of(list(columns))
        self.schema: Mapping[str, pl.DataType] = {
            name: message_dtype(columns[own]) for name, own in self.names.originals.items()
        }
        self._refused: Mapping[str, str] = {}

    def types(self, columns: Collection[str]) -> Mapping[str, pl.DataType]:
        return {name: self.schema[name] for name in columns}

    def refuse(self, columns: Mapping[str, str]) -> None:
        """Take no value that has one of these fields, for the reasons given."""
        self._refused = columns

    def _frame(
        self,
        records: list[bytes],
        whys: Sequence[str | None],
        values_of: Callable[[str], list[Any]],
        wanted: Collection[str],
    ) -> pl.DataFrame:
        """``frame[<wanted columns>, __malformed, __line]``. ``whys``: why a record is no row. ``values_of``: a field."""
        lines = [
            None if why is None else record.decode(errors="replace")
            for record, why in zip(records, whys, strict=True)
        ]
        series = [
            pl.Series(name, values_of(own), self.schema[name], strict=True)
            for name, own in self.names.originals.items()
            if name in wanted
        ]
        return pl.DataFrame(
            [*series, pl.Series(MALFORMED, whys, pl.String), pl.Series(LINE, lines, pl.String)]
        )
