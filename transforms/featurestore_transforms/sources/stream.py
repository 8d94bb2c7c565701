"""A lazy frame over frames that come one after the other, for formats that Polars does not stream."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl
from polars.io.plugins import register_io_source

from featurestore.storage.delta import FILE, ROW

MALFORMED, LINE = "__malformed", "__line"
"""String columns: why a row cannot be split into values, and its text. Null for other rows."""
MARKS: Mapping[str, pl.DataType] = {ROW: pl.Int64(), MALFORMED: pl.String(), LINE: pl.String()}
"""What the frames of a stream have beside the columns of its file."""


@dataclass(slots=True)
class FrameStream:
    """The rows of one file, piece by piece.

    ``frames``: makes the pieces, which have at least the columns that it is asked for. ``rows``: how many there
    were, once all of them were read. ``failure``: what ended the reading of the file.
    """

    schema: Mapping[str, pl.DataType]
    frames: Callable[[Collection[str]], Iterator[pl.DataFrame]]
    rows: int = 0
    failure: Exception | None = None

    def scan(self) -> pl.LazyFrame:
        """The rows as one lazy frame, read when it is collected and never held as a whole."""
        return scan_streams([(0, self)], self.schema).drop(FILE)


class FrameReader:
    """What readers have in common whose rows come as a stream of frames, and whose types are known before."""

    schema: Mapping[str, pl.DataType]
    stream: FrameStream

    def types(self, columns: Collection[str]) -> Mapping[str, pl.DataType]:
        return {name: self.schema[name] for name in columns}

    def scan(self) -> pl.LazyFrame:
        return self.stream.scan()

    def rows(self) -> int:
        return self.stream.rows


def scan_streams(streams: Sequence[tuple[int, FrameStream]], judged: Collection[str]) -> pl.LazyFrame:
    """The rows of streams of the same schema, one after the other: ``frame[<columns>, __file: int32]``.

    One source in the plan, however many files there are: planning takes time for each. ``judged``: the columns by
    which a row is malformed or not, whichever of them a plan reads.
    """
    schema = {**streams[0][1].schema, FILE: pl.Int32()}

    def read(
        columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        left = n_rows
        wanted = list(schema) if columns is None else columns
        needed = {*wanted, *judged} if MALFORMED in wanted else set(wanted)
        for index, stream in streams:
            rows = 0
            for frame in _noted(stream, needed):
                taken = frame if left is None else frame.head(left)
                rows += frame.height
                left = None if left is None else left - taken.height
                taken = _columns(taken, wanted, index)
                yield taken if predicate is None else taken.filter(predicate)
                if left == 0:
                    return
            stream.rows = rows

    return register_io_source(read, schema=schema, is_pure=True)


MOST_ROWS = 10_000
"""Of the head of a large arrival."""


def limit(stream: FrameStream, rows: int = MOST_ROWS) -> None:
    """Let the stream end after so many rows."""
    frames = stream.frames

    def first(columns: Collection[str]) -> Iterator[pl.DataFrame]:
        left = rows
        for frame in frames(columns):
            yield frame.head(left)
            left -= frame.height
            if left <= 0:
                return

    stream.frames = first


def _columns(frame: pl.DataFrame, wanted: Sequence[str], index: int) -> pl.DataFrame:
    """The wanted columns, ``__file`` among them; not by an expression, which would wait for the threads that compute."""
    columns = [
        same(FILE, index, pl.Int32(), frame.height) if name == FILE else frame.get_column(name)
        for name in wanted
    ]
    return pl.DataFrame(columns)


def same(name: str, value: object, dtype: pl.DataType, rows: int) -> pl.Series:
    """A column that has the value in all rows."""
    return pl.Series(name, [value], dtype).new_from_index(0, rows)


def _noted(stream: FrameStream, columns: Collection[str]) -> Iterator[pl.DataFrame]:
    """The stream's frames. Of an exception that is raised here, Polars passes on only the message."""
    try:
        yield from stream.frames(columns)
    except Exception as error:
        stream.failure = error
        raise
