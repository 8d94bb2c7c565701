"""A file whose format has columns with types: what readers of Parquet and of Arrow have in common."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import polars as pl

from featurestore_transforms.sources.arrow_values import ColumnTypes
from featurestore_transforms.sources.source_file import SourceFile
from featurestore_transforms.sources.stream import MARKS, FrameReader, FrameStream


class ColumnarFile(FrameReader, SourceFile):
    """The types of all rows are known once the file is open; rows are numbered as they are read."""

    _types: ColumnTypes

    def _frames(self, columns: Collection[str]) -> Iterator[pl.DataFrame]:
        """The rows of these columns, piece by piece, with ``MARKS``."""
        raise NotImplementedError

    def _take(self, types: ColumnTypes) -> None:
        """Stream columns of these types, but for those that no table can store."""
        self._types = types
        self.refused = types.refused
        self.schema = types.polars
        taken = {name: dtype for name, dtype in self.schema.items() if name not in self.refused}
        self.stream = FrameStream({**taken, **MARKS}, self._frames)
