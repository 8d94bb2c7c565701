"""A JSON lines file as a source: one object a line. A line that is no object is a malformed row.

Numbers, texts and true or false are read as texts, so that no number loses a digit on the way to its type;
lists and objects are read as such. Empty lines are not rows.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from io import BytesIO

import polars as pl

from featurestore.arrivals.arrival import Arrival
from featurestore.storage.delta import ROW
from featurestore_transforms.sources.reader import LINE, MALFORMED
from featurestore_transforms.sources.source_file import SourceFile, open_stream, require_columns
from featurestore_transforms.sources.stream import FrameStream
from featurestore_transforms.sources.text_types import kinds

_BLOCK_BYTES = 4 << 20
_PLAIN = (str, int, float, bool)


class JsonFile(SourceFile):
    """Read twice: once to see which keys there are in all lines, once for the rows."""

    def __init__(self, arrival: Arrival, codec: str | None) -> None:
        self.arrival = arrival
        self._codec = codec
        found: dict[str, pl.DataType] = {}
        for block in self._blocks():
            for name, dtype in _look(block).items():
                found[name] = _wider(found.get(name, pl.Null()), dtype)
        require_columns(list(found))
        self._found = found
        self.schema: Mapping[str, pl.DataType] = {
            name: dtype if dtype.is_nested() else pl.String() for name, dtype in found.items()
        }
        texts = {ROW: pl.Int64(), MALFORMED: pl.String(), LINE: pl.String()}
        self.stream = FrameStream({**self.schema, **texts}, self._frames)

    def types(self, columns: Collection[str]) -> Mapping[str, pl.DataType]:
        """Texts stay texts, also those that look like numbers: JSON knows the difference."""
        numbers = [name for name in columns if self._found[name].is_numeric()]
        exact = kinds(self.scan().select(numbers))
        return {name: exact[name] if name in exact else self._found[name] for name in columns}

    def scan(self) -> pl.LazyFrame:
        return self.stream.scan()

    def rows(self) -> int:
        return self.stream.rows

    def _frames(self) -> Iterator[pl.DataFrame]:
        first = 0
        nothing = pl.lit(None, pl.String)
        for block in self._blocks():
            frame = self._parse(block)
            if frame is None:
                frame = self._line_by_line(block)
            else:
                frame = frame.with_columns(nothing.alias(MALFORMED), nothing.alias(LINE))
            numbers = pl.int_range(first, first + frame.height, dtype=pl.Int64, eager=True)
            first += frame.height
            yield frame.select(*self.schema, numbers.alias(ROW), MALFORMED, LINE)

    def _parse(self, lines: bytes) -> pl.DataFrame | None:
        """The rows of these lines; None if any of them is malformed."""
        count = sum(1 for line in lines.split(b"\n") if line.strip())
        if not self.schema:
            return None
        try:
            frame = pl.read_ndjson(BytesIO(lines), schema=dict(self.schema))
        except pl.exceptions.PolarsError:
            return None
        return frame if frame.height == count else None

    def _line_by_line(self, block: bytes) -> pl.DataFrame:
        frames, good = [], bytearray()

        def flush() -> None:
            if good:
                rows = self._parse(bytes(good))
                assert rows is not None
                frames.append(rows)
                good.clear()

        for line in block.split(b"\n"):
            if not line.strip():
                continue
            why = _malformed(line)
            if why is None and self._parse(line) is not None:
                good.extend(line + b"\n")
                continue
            flush()
            values = {name: [None] for name in self.schema}
            text = line.decode(errors="replace")
            why = why or "a value is not of the kind that others of its key are of"
            frames.append(
                pl.DataFrame(
                    {**values, MALFORMED: [why], LINE: [text]},
                    schema={**self.schema, MALFORMED: pl.String, LINE: pl.String},
                )
            )
        flush()
        empty = pl.DataFrame(schema={**self.schema, MALFORMED: pl.String, LINE: pl.String})
        return pl.concat([empty, *frames], how="diagonal")

    def _blocks(self) -> Iterator[bytes]:
        """The file's bytes, cut where lines end."""
        rest = b""
        with open_stream(self.arrival.uri, self._codec) as stream:
            while chunk := stream.read(_BLOCK_BYTES):
                whole, newline, tail = (rest + chunk).rpartition(b"\n")
                if newline:
                    yield whole
                rest = tail
        if rest.strip():
            yield rest


def _look(lines: bytes) -> dict[str, pl.DataType]:
    """Keys of the lines' objects and the kinds of their values."""
    try:
        return dict(pl.read_ndjson(BytesIO(lines), infer_schema_length=None).schema)
    except pl.exceptions.PolarsError:
        found: dict[str, pl.DataType] = {}
        for line in lines.split(b"\n"):
            if line.strip() and _malformed(line) is None:
                for name, value in json.loads(line).items():
                    found[name] = _wider(found.get(name, pl.Null()), _kind(value))
        return found


def _malformed(line: bytes) -> str | None:
    """Why a line is no object that Polars reads; None if it is one."""
    try:
        value = json.loads(line)
    except ValueError as error:
        return f"not JSON: {error}"
    if not isinstance(value, dict):
        return f"wanted an object, got {type(value).__name__}"
    return None


def _kind(value: object) -> pl.DataType:
    if value is None:
        return pl.Null()
    if isinstance(value, bool):
        return pl.Boolean()
    if isinstance(value, int):
        return pl.Int64()
    if isinstance(value, float):
        return pl.Float64()
    if isinstance(value, list | dict):
        try:
            return pl.Series([value]).dtype
        except (TypeError, pl.exceptions.PolarsError):
            return pl.String()
    return pl.String()


def _wider(one: pl.DataType, other: pl.DataType) -> pl.DataType:
    """A kind that both are of; texts if there is none."""
    if one == other or other == pl.Null():
        return one
    if one == pl.Null():
        return other
    if one.is_numeric() and other.is_numeric():
        return pl.Float64()
    if isinstance(one, pl.List) and isinstance(other, pl.List):
        return pl.List(_wider(_type(one.inner), _type(other.inner)))
    if isinstance(one, pl.Struct) and isinstance(other, pl.Struct):
        fields = {field.name: _type(field.dtype) for field in one.fields}
        for field in other.fields:
            fields[field.name] = _wider(fields.get(field.name, pl.Null()), _type(field.dtype))
        return pl.Struct(fields)
    return pl.String()


def _type(dtype: object) -> pl.DataType:
    return dtype() if isinstance(dtype, type) else dtype  # type: ignore[return-value]
