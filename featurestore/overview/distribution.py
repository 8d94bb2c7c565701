"""What the values of a view's newest rows look like: of a bounded number of rows, so that it never takes long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from featurestore.resources import FeatureView
from featurestore.resources.outputs import outputs
from featurestore.storage import paths
from featurestore.storage.delta import BATCH, DataFile, Table
from featurestore.storage.objects import Storage

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_ROWS, _MOST_VALUES, _MOST_BYTES = 20_000, 1_000_000, 64 << 20
_PIECE = 1_000
_BARS = 16
_COMMON = 5
_SHOWN_TEXT = 80


@dataclass(frozen=True, slots=True)
class Bar:
    """How many values there are of one kind: a range of numbers, or a text."""

    label: str
    count: int


@dataclass(frozen=True, slots=True)
class Distribution:
    """Values of one column. ``bars``: ranges from the least to the greatest if ``is_range``, else the most frequent values.

    ``facts``: in words, such as ``least 1``.
    """

    rows: int
    nulls: int
    bars: tuple[Bar, ...] = ()
    is_range: bool = False
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """``rows``: how many were looked at, of ``of_rows`` that the table has. ``columns``: by column of the table."""

    rows: int
    of_rows: int
    columns: dict[str, Distribution]


def sample(storage: Storage, view: FeatureView, digest: str) -> Sample:
    """The values of the newest rows of the build ``digest``, of those features that it has columns for.

    Raises:
        StorageError: storage did not answer.
    """
    import pyarrow as pa

    table = Table.open(storage, paths.features(view.metadata.name, digest))
    files = table.files() if table else []
    names = list(dict.fromkeys(output.column for output in outputs(view.spec)))
    pieces = list(_newest(storage, paths.features(view.metadata.name, digest), files, names))
    if not pieces:
        return Sample(0, sum(file.rows for file in files), {})
    rows = pa.concat_tables([pa.Table.from_batches([piece]) for piece in pieces], promote_options="default")
    columns = {name: distribution(rows[name]) for name in rows.column_names}
    return Sample(rows.num_rows, sum(file.rows for file in files), columns)


def _newest(
    storage: Storage, path: str, files: Sequence[DataFile], names: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Rows of the files that hold the newest batches, until they are enough."""
    import pyarrow.parquet as pq

    rows = min(_MOST_ROWS, max(_PIECE, _MOST_VALUES // max(1, len(names))))
    left, size = rows, 0
    for file in sorted(files, key=lambda file: -(file.stats["maxValues"].get(BATCH) or 0)):
        with storage.opened(f"{path}/{file.path}") as opened:
            parquet = pq.ParquetFile(opened)
            held = [name for name in names if name in parquet.schema_arrow.names]
            for piece in parquet.iter_batches(batch_size=_PIECE, columns=held):
                yield piece.slice(0, left)
                left, size = left - piece.num_rows, size + piece.nbytes
                if left <= 0 or size > _MOST_BYTES:
                    return


def distribution(values: pa.ChunkedArray) -> Distribution:
    """What the values look like.

    >>> import pyarrow as pa
    >>> distribution(pa.chunked_array([["a", "b", "a", None]])).bars
    (Bar(label='a', count=2), Bar(label='b', count=1))
    """
    import pyarrow as pa

    kind = values.type
    rows, nulls = len(values), values.null_count
    if rows == nulls:
        return Distribution(rows, nulls)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _numbers(values)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _times(values)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        import pyarrow.compute as pc

        lengths = _numbers(pc.list_value_length(values))
        facts = tuple((f"{word} length", value) for word, value in lengths.facts)
        return Distribution(rows, nulls, lengths.bars, True, facts)
    return _words(values)


def _numbers(values: pa.ChunkedArray) -> Distribution:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    present = values.drop_null().to_numpy()
    finite = present[np.isfinite(present)] if pa.types.is_floating(values.type) else present
    strange = len(present) - len(finite)
    facts: list[tuple[str, str]] = []
    bars: tuple[Bar, ...] = ()
    if len(finite):
        least, most = finite.min(), finite.max()
        middle = pc.quantile(pa.array(finite), 0.5, interpolation="lower")[0].as_py()
        facts = [("least", _number(least)), ("median", _number(middle)), ("greatest", _number(most))]
        bars = _ranges(finite.astype(np.float64))
    if strange:
        facts.append(("not finite", f"{strange:,}"))
    return Distribution(len(values), values.null_count, bars, True, tuple(facts))


def _ranges(numbers: Any) -> tuple[Bar, ...]:
    """Counts in ranges of equal width. Halved before they are subtracted: the greatest floats are as far apart."""
    import numpy as np

    least, most = float(numbers.min()), float(numbers.max())
    span = most / 2 - least / 2
    if not span:
        return (Bar(_number(least), len(numbers)),)
    places = (numbers / 2 - least / 2) / span
    counts = np.bincount(np.minimum((places * _BARS).astype(np.int64), _BARS - 1), minlength=_BARS)
    edges = [least * (1 - n / _BARS) + most * (n / _BARS) for n in range(_BARS + 1)]
    return tuple(
        Bar(f"{_number(edges[n])} to {_number(edges[n + 1])}", int(count)) for n, count in enumerate(counts)
    )


def _times(values: pa.ChunkedArray) -> Distribution:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    days = pa.types.is_date(values.type)
    stored = values.drop_null().cast(pa.int32() if days else pa.int64()).to_numpy().astype(np.int64)
    unit = "M8[D]" if days else "M8[us]"

    def number_text(number: Any) -> str:
        text = str(np.array([int(number)], np.int64).astype(unit).astype("M8[D]" if days else "M8[s]")[0])
        return text if days else f"{text}Z"

    facts = (("least", number_text(stored.min())), ("greatest", number_text(stored.max())))
    bars = _ranges(stored.astype(np.float64))
    return Distribution(
        len(values),
        pc.sum(pc.is_null(values)).as_py(),
        tuple(Bar("", bar.count) for bar in bars),
        True,
        facts,
    )


def _words(values: pa.ChunkedArray) -> Distribution:
    import pyarrow as pa
    import pyarrow.compute as pc

    counted = pc.value_counts(values.drop_null().combine_chunks())
    number = len(counted)
    order = pc.sort_indices(counted.field("counts"), sort_keys=[("", "descending")])[:_COMMON]
    common = counted.take(order).to_pylist()
    bars = tuple(Bar(_text(each["values"]), each["counts"]) for each in common)
    facts = () if pa.types.is_boolean(values.type) else (("distinct", f"{number:,}"),)
    return Distribution(len(values), values.null_count, bars, False, facts)


def _text(value: Any) -> str:
    text = (
        value.hex(" ", 4)
        if isinstance(value, bytes)
        else str(value).lower()
        if isinstance(value, bool)
        else value
    )
    return text if len(text) <= _SHOWN_TEXT else f"{text[:_SHOWN_TEXT]}…"


def _number(value: Any) -> str:
    """A number in few characters.

    >>> _number(1234), _number(0.123456), _number(1e30)
    ('1,234', '0.1235', '1e+30')
    """
    import numpy as np

    if isinstance(value, int | np.integer):
        return f"{int(value):,}"
    return (
        f"{float(value):,.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{float(value):.4g}"
    )
