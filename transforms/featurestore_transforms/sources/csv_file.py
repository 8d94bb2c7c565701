"""A CSV file as a source. All values are texts; a line with too few or too many is a malformed row.

The header is read as the first record; without one the columns are ``column_1``, ``column_2`` … Empty lines are
not rows.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as arrow_csv

from featurestore.arrivals.arrival import Arrival
from featurestore.resources.data_pipeline import CsvOptions, Header
from featurestore.storage.delta import ROW
from featurestore_transforms.sources.reader import LINE, MALFORMED, UnreadableFile
from featurestore_transforms.sources.source_file import SourceFile, open_stream, require_columns
from featurestore_transforms.sources.stream import FrameStream
from featurestore_transforms.sources.text_types import kinds

_BLOCK_BYTES = 4 << 20
_HEADER_BYTES = 1 << 20
_BINARY = b"\x00"
_DELIMITERS = ",;\t|"


@dataclass(frozen=True, slots=True)
class _Broken:
    row: int
    line: str
    why: str


class _Ending:
    """A stream that remembers the last bytes that were read from it."""

    closed = False

    def __init__(self, stream: pa.NativeFile) -> None:
        self._stream = stream
        self.last = b""

    def read(self, size: int) -> bytes:
        data: bytes = self._stream.read(size)
        self.last = (self.last + data)[-4:] if len(data) < 4 else data[-4:]
        return data


class CsvFile(SourceFile):
    """Arrow takes the file apart; its rows are numbered as they stand, malformed ones too."""

    def __init__(self, arrival: Arrival, options: CsvOptions, codec: str | None) -> None:
        self.arrival = arrival
        self._options = options
        self._codec = codec
        with open_stream(arrival.uri, codec) as stream:
            start = stream.read(_HEADER_BYTES)
        names, self._skip = _header(start, options)
        require_columns(names)
        self.schema: Mapping[str, pl.DataType] = dict.fromkeys(names, pl.String())
        texts = {ROW: pl.Int64(), MALFORMED: pl.String(), LINE: pl.String()}
        self.stream = FrameStream({**self.schema, **texts}, self._frames)

    def require_learnable(self) -> None:
        """Raises UnreadableFile if the header is one name that holds a delimiter other than the one declared.

        For the first file of a source whose columns are not declared: what is learned from it is held.

        Raises:
            Unreadable: the delimiter seems to be another one.
        """
        ours = self._options.delimiter
        if len(self.schema) > 1 or self._options.header is Header.ABSENT:
            return
        [name] = self.schema
        if other := next((each for each in _DELIMITERS if each in name and each != ours), None):
            raise UnreadableFile(
                "file:delimiter",
                f"one column {name!r}: the delimiter is {ours!r} and seems to be {other!r}. "
                "Set spec.source.csv.delimiter, or declare spec.columns if this is its name",
            )

    def types(self, columns: Collection[str]) -> Mapping[str, pl.DataType]:
        return kinds(self.scan().select(columns))

    def scan(self) -> pl.LazyFrame:
        return self.stream.scan()

    def rows(self) -> int:
        return self.stream.rows

    def _frames(self) -> Iterator[pl.DataFrame]:
        pending: list[_Broken] = []
        first = self._skip + 1

        def broken(row: arrow_csv.InvalidRow) -> str:
            why = f"wanted {row.expected_columns} values, got {row.actual_columns}"
            pending.append(_Broken(row.number - first, row.text, why))
            return "skip"

        names = list(self.schema)
        with open_stream(self.arrival.uri, self._codec) as stream:
            ending = _Ending(stream)
            reader = arrow_csv.open_csv(
                pa.PythonFile(ending, mode="r"),
                # Row numbers are told only without threads; Polars uses the cores meanwhile.
                read_options=arrow_csv.ReadOptions(
                    use_threads=False, block_size=_BLOCK_BYTES, column_names=names, skip_rows=self._skip
                ),
                parse_options=arrow_csv.ParseOptions(
                    delimiter=self._options.delimiter, newlines_in_values=True, invalid_row_handler=broken
                ),
                convert_options=arrow_csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.binary()),
                    strings_can_be_null=False,
                    check_utf8=False,
                ),
            )
            number = 0
            held: pl.DataFrame | None = None
            for batch in reader:
                rows = _numbers(number, batch.num_rows, {one.row for one in pending})
                texts = self._texts(batch, rows)
                if held is not None:
                    yield held
                held = texts
                number = int(rows[-1]) + 1 if len(rows) else number
                done = [one for one in pending if one.row < number]
                pending[:] = [one for one in pending if one.row >= number]
                if done:
                    yield self._malformed(done)
            if pending:
                yield self._malformed(pending)
            if held is not None:
                yield self._closed(held, ending.last)

    def _texts(self, batch: pa.RecordBatch, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pl.DataFrame:
        raw = pl.DataFrame(pa.Table.from_batches([batch]))
        names = list(self.schema)
        why, line = pl.lit(None, pl.String), pl.lit(None, pl.String)
        try:
            texts = raw.cast(pl.String)
        except pl.exceptions.PolarsError:
            texts = pl.DataFrame({name: [_decoded(value) for value in raw[name]] for name in names})
            garbled = pl.any_horizontal(pl.col(name).is_null() for name in names)
            shown = [self._options.delimiter.join(_readable(value) for value in row) for row in raw.rows()]
            why = pl.when(garbled).then(pl.lit("not UTF-8"))
            line = pl.when(garbled).then(pl.Series(shown, dtype=pl.String))
        numbers = pl.Series(ROW, rows, dtype=pl.Int64)
        texts = texts.with_columns(numbers, why.alias(MALFORMED), line.alias(LINE))
        nulls = self._options.null_values
        return texts.with_columns(pl.when(~pl.col(name).is_in(nulls)).then(pl.col(name)) for name in names)

    def _closed(self, texts: pl.DataFrame, last: bytes) -> pl.DataFrame:
        """The last rows of the file. A quote that is never closed took all lines after it into one value."""
        if not texts.height or last.rstrip(b"\r\n").endswith(b'"'):
            return texts
        value = texts.item(-1, len(self.schema) - 1)
        if value is None or "\n" not in value:
            return texts
        line = self._options.delimiter.join(texts.row(-1)[index] or "" for index in range(len(self.schema)))
        end = pl.int_range(pl.len()) == pl.len() - 1
        return texts.with_columns(
            pl.when(end)
            .then(pl.lit("a quote is never closed"))
            .otherwise(pl.col(MALFORMED))
            .alias(MALFORMED),
            pl.when(end).then(pl.lit(line)).otherwise(pl.col(LINE)).alias(LINE),
        )

    def _malformed(self, broken: list[_Broken]) -> pl.DataFrame:
        rows = pl.DataFrame(
            {
                ROW: [one.row for one in broken],
                MALFORMED: [one.why for one in broken],
                LINE: [one.line for one in broken],
            },
            schema={ROW: pl.Int64, MALFORMED: pl.String, LINE: pl.String},
        )
        return rows.select(
            *(pl.lit(None, pl.String).alias(name) for name in self.schema), ROW, MALFORMED, LINE
        )


def _decoded(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _readable(value: bytes) -> str:
    return value.decode(errors="replace")


def _numbers(first: int, count: int, taken: set[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The next ``count`` row numbers from ``first`` on that are not taken by malformed rows."""
    numbers = np.arange(first, first + count + len(taken), dtype=np.int64)
    if taken:
        numbers = numbers[~np.isin(numbers, np.fromiter(taken, np.int64))]
    return numbers[:count]


def _header(start: bytes, options: CsvOptions) -> tuple[list[str], int]:
    """Names of the columns, and how many lines stand before the first row."""
    if _BINARY in start:
        raise UnreadableFile("file:format", "no text: it holds a byte 0")
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(start)
    except UnicodeDecodeError as error:
        text = start[: error.start].decode("utf-8-sig", errors="replace")
        if "\n" not in text:
            raise UnreadableFile("file:format", f"no UTF-8 text: {error.reason}") from error
    records = csv.reader(text.splitlines(keepends=True), delimiter=options.delimiter)
    record = next((record for record in records if record), None)
    if record is None:
        raise UnreadableFile("file:empty", "the file has no line")
    if options.header is Header.ABSENT:
        return [f"column_{n}" for n in range(1, len(record) + 1)], 0
    return record, records.line_num
