"""The keys of a file: which entities are to be erased."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from featurestore.errors import NotFound, RequestError, did_you_mean

_FORMS = ("parquet", "csv")
Key = tuple[str, ...]


def read_keys(path: Path, columns: Sequence[tuple[str, str]]) -> list[Key]:
    """The keys in a Parquet or CSV file as texts, each once, in the order of ``columns``: names and types of join keys.

    Raises:
        NotFound: there is no such file.
        RequestError: it lacks a column, or has a value that is not a key.
    """
    if not path.is_file():
        raise NotFound("there is no such file", got=str(path))
    form = path.suffix.lstrip(".").lower()
    if form not in _FORMS:
        raise RequestError(
            "not a file of keys", where=str(path), wanted="a name that ends with .parquet or .csv"
        )
    names = [name for name, _ in columns]
    rows = _parquet(path, names) if form == "parquet" else _csv(path, names)
    keys = {
        tuple(_text(value, kind, f"{path}, row {at}") for value, (_, kind) in zip(row, columns, strict=True))
        for at, row in enumerate(rows, 1)
    }
    if not keys:
        raise RequestError("the file has no key", where=str(path))
    return sorted(keys)


def _csv(path: Path, names: Sequence[str]) -> Iterator[list[Any]]:
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        _require(path, names, rows.fieldnames or ())
        for row in rows:
            yield [row[name] for name in names]


def _parquet(path: Path, names: Sequence[str]) -> Iterator[list[Any]]:
    import pyarrow.parquet as pq
    from pyarrow.lib import ArrowException

    try:
        with pq.ParquetFile(path) as file:
            _require(path, names, file.schema_arrow.names)
            for batch in file.iter_batches(columns=list(names)):
                for row in batch.to_pylist():
                    yield [row[name] for name in names]
    except ArrowException as error:
        raise RequestError("the file cannot be read", where=str(path), got=str(error)) from error


def _require(path: Path, names: Sequence[str], columns: Sequence[str]) -> None:
    for name in names:
        if name not in columns:
            raise RequestError(
                f"the file lacks the join key {name!r}", where=str(path), hint=did_you_mean(name, columns)
            )


def _text(value: Any, kind: str, where: str) -> str:
    if value is None or value == "":
        raise RequestError("a key is missing", where=where)
    if kind == "string":
        if isinstance(value, bool | float | bytes):
            raise RequestError("not a key", where=where, wanted="a string", got=repr(value))
        return str(value)
    try:
        if isinstance(value, bool | float) and value != int(value):
            raise ValueError
        return str(int(value))
    except (TypeError, ValueError, OverflowError):
        raise RequestError("not a key", where=where, wanted=kind, got=repr(value)) from None
