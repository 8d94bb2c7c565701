"""A CSV file as a source. All values are texts; a line that breaks the grammar, or has too few or too many values, is
a malformed row.

The header is read as the first record; without one the columns are ``column_1``, ``column_2`` …, and so is a column
whose header has no name, as pandas and R write their index. Empty lines are not rows.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as arrow_csv

from featurestore.arrivals.arrival import Arrival
from featurestore.resources.text_format import CsvOptions, Header
from featurestore.storage.delta import ROW
from featurestore_transforms.sources.column_use import ColumnUse
from featurestore_transforms.sources.csv_grammar import BrokenRecord, CsvGrammar
from featurestore_transforms.sources.foreign import foreign
from featurestore_transforms.sources.reader import UnreadableArrival
from featurestore_transforms.sources.source_file import SourceFile
from featurestore_transforms.sources.stream import LINE, MALFORMED, MARKS, FrameStream
from featurestore_transforms.sources.text_stream import TextStream
from featurestore_transforms.sources.text_types import kinds
from featurestore_transforms.steps.column_names import ColumnNames, short

_HEADER_BYTES = 1 << 20
_DELIMITERS = ",;\t|"
_COMMENTS = ("#", "//", "--", "%")
_COMMENT = (
    "the first line seems to be a comment: {}. Set spec.source.csv.comment or skipLines, "
    "or declare spec.columns if this is the name of a column"
)
_WORD = re.compile(r"[^\W\d]\w*(?:[.-]\w+)*")
"""How people name a column, and no line of a log begins: that has a time, or several words."""


class CsvFile(SourceFile):
    """Arrow takes the good lines apart; rows are numbered as they stand, malformed ones too."""

    def __init__(self, arrival: Arrival, options: CsvOptions, codec: str | None) -> None:
        self.arrival = arrival
        self._options = options
        self._text = TextStream(arrival, codec, options.encoding, options.skip_lines)
        start, final = self._text.start(_HEADER_BYTES)
        if options.header is Header.PRESENT and (what := foreign(start)) is not None:
            raise UnreadableArrival("file:format", f"not CSV: {what}")
        try:
            header, self._skip_bytes = CsvGrammar(options).header(start, final=final)
        except UnreadableArrival as broken:
            raise _explained(broken, start, options) from None
        if options.header is Header.ABSENT:
            header = [""] * len(header)
            self._skip_bytes = 0
        header = [name if name.strip() else f"column_{n}" for n, name in enumerate(header, 1)]
        self._grammar = CsvGrammar(options, len(header))
        self.names = ColumnNames.of(header)
        self._places = {header.index(own): name for name, own in self.names.originals.items()}
        self.schema: Mapping[str, pl.DataType] = dict.fromkeys(self.names.originals, pl.String())
        self.stream = FrameStream({**self.schema, **MARKS}, self._frames)

    def require_learnable(self, use: ColumnUse) -> None:
        """Raises UnreadableArrival if the header seems to be a comment, or to have a delimiter other than the one declared,
        or if there is one column of strings under more than a word: a log or an error page looks like that.

        For a file of which names and types would be learned: what is learned is held.

        Raises:
            UnreadableArrival: it does.
        """
        if self._options.header is Header.ABSENT:
            return
        [(column, first), *others] = self.names.originals.items() or [("", "")]
        if first.startswith(_COMMENTS) and not (others and first.strip() in _COMMENTS):
            raise UnreadableArrival("file:format", _COMMENT.format(short(first)))
        if self._grammar.columns > 1 or use.named(first):
            return
        ours = self._options.delimiter
        if other := next((each for each in _DELIMITERS if each in first and each != ours), None):
            raise UnreadableArrival(
                "file:delimiter",
                f"one column {short(first)}: the delimiter is {ours!r} and seems to be {other!r}. "
                "Set spec.source.csv.delimiter, or declare spec.columns if this is its name",
            )
        if column and not _WORD.fullmatch(first) and self.types([column])[column] == pl.String():
            raise UnreadableArrival(
                "file:format",
                f"one column of strings, {short(first)}, which the spec does not name: is it a log, or a page that says "
                "what went wrong? Declare spec.columns if it is a table of one column",
            )

    def types(self, columns: Collection[str]) -> Mapping[str, pl.DataType]:
        return kinds(columns, self.stream.frames(columns))

    def scan(self) -> pl.LazyFrame:
        return self.stream.scan()

    def rows(self) -> int:
        return self.stream.rows

    def _frames(self, _columns: Collection[str]) -> Iterator[pl.DataFrame]:
        first = 0
        rest = b""
        for chunk, final in self._text.chunks(self._skip_bytes):
            records = self._grammar.read(rest + chunk, final=final)
            rest = records.rest
            broken = {one.row for one in records.broken}
            numbers = np.array([row for row in range(records.rows) if row not in broken]) if broken else None
            yield from self._parsed(records.good, first, numbers)
            if records.broken:
                yield self._malformed(records.broken, first)
            first += records.rows

    def _parsed(
        self, lines: bytes, first: int, numbers: np.ndarray[tuple[int], np.dtype[np.int64]] | None
    ) -> Iterator[pl.DataFrame]:
        """Rows of lines that keep to the grammar. ``numbers``: of these lines; None if they count up from 0."""
        if not lines:
            return
        short_or_long: list[BrokenRecord] = []

        def number(place: int) -> int:
            return place if numbers is None else int(numbers[place])

        def broken(row: arrow_csv.InvalidRow) -> str:
            why = f"wanted {row.expected_columns} values, got {row.actual_columns}"
            short_or_long.append(BrokenRecord(number(row.number - 1), row.text.encode(), why))
            return "skip"

        names = [str(place) for place in range(self._grammar.columns)]
        table = arrow_csv.read_csv(
            pa.BufferReader(lines),
            # Row numbers are told only without threads; Polars uses the cores meanwhile.
            read_options=arrow_csv.ReadOptions(
                use_threads=False, block_size=len(lines) + 1, column_names=names
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=self._options.delimiter,
                quote_char=self._options.quote or False,
                escape_char=self._options.escape or False,
                newlines_in_values=True,
                invalid_row_handler=broken,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                include_columns=[str(place) for place in self._places],
                strings_can_be_null=False,
            ),
        )
        if short_or_long:
            yield self._malformed(short_or_long, first)
        if not table.num_rows:
            return
        taken = {one.row for one in short_or_long}
        rows = np.arange(table.num_rows + len(taken)) if numbers is None else numbers
        if taken:
            rows = rows[~np.isin(rows, np.fromiter(taken, np.int64))]
        nulls = self._options.null_values
        texts = pl.DataFrame(
            {
                name: pl.Series(table.column(str(place)), dtype=pl.String)
                for place, name in self._places.items()
            }
        )
        yield texts.select(
            *(pl.when(~pl.col(name).is_in(nulls)).then(pl.col(name)).alias(name) for name in self.schema),
            pl.Series(ROW, rows + first, dtype=pl.Int64),
            pl.lit(None, pl.String).alias(MALFORMED),
            pl.lit(None, pl.String).alias(LINE),
        )

    def _malformed(self, broken: list[BrokenRecord], first: int) -> pl.DataFrame:
        rows = pl.DataFrame(
            {
                ROW: [first + one.row for one in broken],
                MALFORMED: [one.why for one in broken],
                LINE: [one.line.decode(errors="replace") for one in broken],
            },
            schema=MARKS,
        )
        return rows.select(*(pl.lit(None, pl.String).alias(name) for name in self.schema), *MARKS)


def _explained(broken: UnreadableArrival, start: bytes, options: CsvOptions) -> UnreadableArrival:
    """Why the first line breaks the grammar: maybe it is a comment, or is one under another delimiter."""
    first = start.lstrip().split(b"\n", 1)[0].decode(errors="replace").rstrip("\r")
    if broken.rule != "file:format" or not first.replace("\t", "").isprintable():
        return broken
    if first.startswith(_COMMENTS) and not options.comment:
        return UnreadableArrival(broken.rule, _COMMENT.format(short(first)))
    for other in _DELIMITERS:
        if other in first and other not in (
            options.delimiter,
            options.quote,
            options.escape,
            options.comment,
        ):
            grammar = CsvGrammar(options.model_copy(update={"delimiter": other}))
            try:
                values, _ = grammar.header(start, final=True)
            except UnreadableArrival:
                continue
            if len(values) > 1:
                return UnreadableArrival(
                    "file:delimiter",
                    f"{broken.reason}. The delimiter is {options.delimiter!r} and seems to be {other!r}. "
                    "Set spec.source.csv.delimiter",
                )
    return broken
