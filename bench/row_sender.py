"""Puts files to S3 and sends messages to a topic, and notes what was sent."""

from __future__ import annotations

import io
import json
from typing import Any

import polars as pl

from bench.sent_rows import KEYS, SOURCES, SentRows
from featurestore.storage.filesystem import filesystem
from featurestore.timestamps import current_us

RAW = "raw"
"""The bucket of the files."""
ROWS = 5
"""Of each file, and as many messages with it."""


class RowSender:
    """Puts files and sends messages. ``sent``: what was, by source."""

    def __init__(self, environ: dict[str, str], brokers: str) -> None:
        from confluent_kafka import Producer

        self.sent = {source: SentRows() for source in SOURCES}
        self.arrivals = self.rows = 0
        self._fs, _ = filesystem(f"s3://{RAW}", environ)
        self._producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True, "log_level": 0})
        self._last_us = 0

    def send(self, number: int) -> None:
        """One file, and as many messages as it has rows."""
        files = self._rows("orders", number)
        frame = pl.DataFrame(files).with_columns(
            pl.from_epoch("ts", time_unit="us").dt.replace_time_zone("UTC")
        )
        body = io.BytesIO()
        frame.write_parquet(body)
        self._fs.call_s3("put_object", Bucket=RAW, Key=f"orders/{number:06}.parquet", Body=body.getvalue())
        for row in self._rows("clicks", number):
            value = {
                **row,
                "ts": pl.Series([row["ts"]]).cast(pl.Datetime("us")).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")[0],
            }
            self._producer.produce("clicks", json.dumps(value).encode(), key=str(row["k"]))
        self._producer.poll(0)
        self.arrivals += 1

    def flush(self) -> None:
        """Return once the broker has all."""
        self._producer.flush()

    def _rows(self, source: str, number: int) -> list[dict[str, Any]]:
        rows = []
        for n in range(number * ROWS, (number + 1) * ROWS):
            key, time_us = KEYS[n % len(KEYS)], max(current_us(), self._last_us + 1)
            self._last_us = time_us
            self.sent[source].add(key, time_us, n)
            rows.append({"k": key, "ts": time_us, "n": n})
        self.rows += ROWS
        return rows
