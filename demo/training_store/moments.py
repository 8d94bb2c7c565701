"""When a flight left and landed, in UTC. Called by the pipeline `flights` on the rows of each file."""

import polars as pl


def of_a_flight(flights: pl.LazyFrame) -> pl.LazyFrame:
    """Adds scheduled_at, departed_at and landed_at: timestamp[us, UTC]."""
    scheduled = pl.col("time_hour") + pl.duration(minutes=pl.col("minute"))
    departed = scheduled + pl.duration(minutes=pl.col("dep_delay").cast(pl.Int64))
    landed = departed + pl.duration(minutes=pl.col("air_time").cast(pl.Int64))
    return flights.with_columns(scheduled_at=scheduled, departed_at=departed, landed_at=landed)
