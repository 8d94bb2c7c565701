"""A Parquet file as a source."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import polars as pl
import pyarrow.parquet as pq

from featurestore.arrivals.arrival import Arrival
from featurestore.storage.credentials import source_environ
from featurestore.storage.delta import ROW
from featurestore_transforms.sources.reader import UnreadableFile
from featurestore_transforms.sources.source_file import SourceFile, open_bytes
from featurestore_transforms.sources.stream import FrameStream
from featurestore_transforms.steps.column_names import ColumnNames, is_index
from featurestore_transforms.tables.polars_credentials import access

_MARK = b"PAR1"


class ParquetFile(SourceFile):
    """Rows and types come from the footer; Polars reads the rest."""

    stream: FrameStream | None = None

    def __init__(self, arrival: Arrival) -> None:
        self.arrival = arrival
        with open_bytes(arrival.uri) as file:
            if file.read(len(_MARK)) != _MARK:
                raise UnreadableFile("file:format", "no Parquet file: it does not begin with PAR1")
            file.seek(max(0, arrival.size_bytes - len(_MARK)))
            if file.read() != _MARK:
                raise UnreadableFile("file:truncated", "the Parquet file does not end with PAR1")
            footer = pq.read_metadata(file)
        self._rows: int = footer.num_rows
        self.names = ColumnNames.of(
            [name for name in footer.schema.to_arrow_schema().names if not is_index(name)]
        )
        if self.names.twice:
            # Polars reads no column of such a file.
            self.refuse(self.names.twice)
        schema = self._scan().collect_schema()
        self.schema: Mapping[str, pl.DataType] = {name: schema[own] for name, own in self.names.plain.items()}

    def types(self, columns: Collection[str]) -> Mapping[str, pl.DataType]:
        return {name: self.schema[name] for name in columns}

    def scan(self) -> pl.LazyFrame:
        columns = [pl.col(own).alias(name) for name, own in self.names.plain.items()]
        return self._scan(ROW).select(*columns, pl.col(ROW).cast(pl.Int64))

    def rows(self) -> int:
        return self._rows

    def _scan(self, row: str | None = None) -> pl.LazyFrame:
        return pl.scan_parquet(
            self.arrival.uri,
            row_index_name=row,
            glob=False,
            hive_partitioning=False,
            cache=False,
            **access(self.arrival.uri, source_environ()),
        )
