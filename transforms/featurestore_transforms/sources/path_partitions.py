"""Columns whose values stand in a file's path, as Hive and Spark write them: ``day=2024-01-01/part-0.parquet``."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote

import polars as pl

from featurestore.expressions.run.cast import fit
from featurestore.resources.partition import Partition
from featurestore.resources.value import ColumnType
from featurestore_transforms.sources.reader import UnreadableArrival

_NULL = "__HIVE_DEFAULT_PARTITION__"


def path_values(uri: str, partitions: Sequence[Partition]) -> dict[str, pl.Series]:
    """Column to its one value, in its type.

    >>> day = Partition(name="day", type="date")
    >>> path_values("raw/day=2024-01-31/a.csv", [day])["day"].to_list()
    [datetime.date(2024, 1, 31)]

    Raises:
        UnreadableArrival: the path does not have one, or it is not of its type.
    """
    if not partitions:
        return {}
    folders = _folders(uri)
    for partition in partitions:
        if len(values := {value for name, value in folders if name == partition.name}) > 1:
            raise UnreadableArrival(
                "file:partition", f"the path has {partition.name}=… twice: {', '.join(sorted(values))}"
            )
    return {partition.name: _value(partition, dict(folders)) for partition in partitions}


def path_columns(uri: str) -> tuple[str, ...]:
    """Names of the columns whose values stand in the path, those of its outermost folder first.

    >>> path_columns("raw/year=2024/day=31/a.csv")
    ('year', 'day')
    """
    try:
        return tuple(name for name in dict(_folders(uri)) if name)
    except UnreadableArrival:
        return ()


def _folders(uri: str) -> list[tuple[str, str]]:
    folders = []
    for folder in uri.split("/")[:-1]:
        name, equals, value = folder.partition("=")
        if equals:
            try:
                folders.append((unquote(name, errors="strict"), unquote(value, errors="strict")))
            except UnicodeDecodeError as error:
                raise UnreadableArrival("file:partition", f"not UTF-8 in the path: {folder!r}") from error
    return folders


def _value(partition: Partition, folders: dict[str, str]) -> pl.Series:
    if partition.name not in folders:
        has = ", ".join(folders) or "none"
        raise UnreadableArrival(
            "file:partition",
            f"wanted a folder {partition.name}=… in the path (spec.source.partitions), got {has}",
        )
    text = folders[partition.name]
    given = pl.Series([None if text == _NULL else text], dtype=pl.String)
    fitted = fit(pl.lit(given), pl.String(), ColumnType(partition.type))
    assert fitted is not None
    if fitted.fits is not None and not pl.select(fitted.fits).item():
        raise UnreadableArrival(
            "file:partition",
            f"wanted {partition.type.value} in the path's {partition.name}=…, got {text!r}",
        )
    return pl.select(fitted.value.alias(partition.name)).to_series()
