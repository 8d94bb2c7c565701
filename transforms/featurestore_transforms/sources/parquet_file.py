"""A Parquet file as a source."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import polars as pl
import pyarrow.parquet as pq

from featurestore.arrivals.arrival import Arrival
from featurestore.storage.credentials import source_environ
from featurestore.storage.delta import ROW
from featurestore_transforms.sources.reader import UnreadableFile
from featurestore_transforms.sources.source_file import SourceFile, is_index, open_bytes, require_columns
from featurestore_transforms.sources.stream import FrameStream
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
        require_columns(footer.schema.to_arrow_schema().names)
        schema = self._scan().collect_schema()
        self.schema: Mapping[str, pl.DataType] = {n: t for n, t in schema.items() if not is_index(n)}

    def types(self, columns: Collection[str]) -> Mapping[str, pl.DataType]:
        return {name: self.schema[name] for name in columns}

    def scan(self) -> pl.LazyFrame:
        return self._scan(ROW).select(*self.schema, pl.col(ROW).cast(pl.Int64))

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
