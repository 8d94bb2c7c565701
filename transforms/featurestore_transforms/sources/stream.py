"""A lazy frame over frames that come one after the other, for formats that Polars does not stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl
from polars.io.plugins import register_io_source

from featurestore.storage.delta import FILE


@dataclass(slots=True)
class FrameStream:
    """The rows of one file, piece by piece. ``rows``: how many there were, once all of them were read."""

    schema: Mapping[str, pl.DataType]
    frames: Callable[[], Iterator[pl.DataFrame]]
    rows: int = 0

    def scan(self) -> pl.LazyFrame:
        """The rows as one lazy frame, read when it is collected and never held as a whole."""
        return scan_streams([(0, self)]).drop(FILE)


def scan_streams(streams: Sequence[tuple[int, FrameStream]]) -> pl.LazyFrame:
    """The rows of streams of the same schema, one after the other: ``frame[<columns>, __file: int32]``.

    One source in the plan, however many files there are: planning takes time for each.
    """
    schema = {**streams[0][1].schema, FILE: pl.Int32()}

    def read(
        columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        left = n_rows
        for index, stream in streams:
            rows = 0
            for frame in stream.frames():
                taken = frame if left is None else frame.head(left)
                rows += frame.height
                taken = taken.with_columns(pl.lit(index, pl.Int32).alias(FILE))
                left = None if left is None else left - taken.height
                if columns is not None:
                    taken = taken.select(columns)
                yield taken if predicate is None else taken.filter(predicate)
                if left == 0:
                    return
            stream.rows = rows

    return register_io_source(read, schema=schema, is_pure=True)
