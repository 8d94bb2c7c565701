"""Two Feast repositories, and what Feast is asked of each."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from feast_environment import rows

NAMES = ["conv_rate", "acc_rate", "avg_daily_trips"]
FEATURES = [f"driver_hourly_stats:{name}" for name in NAMES]
COMPUTED = ["conv_rate_plus_val1", "conv_rate_plus_val2"]
DRIVERS = [1001, 1002, 1003, 1004, 1005, 9999]
# It has a row of each driver at that time, for the labels of its own training call.
FIXED = datetime(2021, 4, 12, 7, tzinfo=UTC)
DAY, INSTANT = timedelta(days=1), timedelta(microseconds=1)
SHOP = Path(__file__).parents[2] / "fixtures" / "feast"
LABELS = ("customer_id", "sku", "event_timestamp", "in_basket")
WEIGHTED = ["weighted:log_amount", "weighted:share"]
START = datetime(2026, 1, 1, tzinfo=UTC)
Asked = tuple[dict[str, Any], dict[str, Any]]
"""A question, and what Feast answered."""


def of_quick_start(folder: Path) -> dict[str, Any]:
    """Of the repository that Feast makes, in a folder that is not there yet."""
    now = datetime.now(UTC)
    times = [FIXED + it for it in (-INSTANT, 0 * DAY, timedelta(hours=3, minutes=59), DAY, DAY + INSTANT)]
    times += [now - n * timedelta(hours=7, minutes=13) for n in range(60)]
    labels: dict[str, list[Any]] = {
        "driver_id": [DRIVERS[n % len(DRIVERS)] for n in range(len(times))] + [1001, 1001, 1001, 1001],
        "event_timestamp": [it.isoformat() for it in (*times, *times[:2], *times[3:5])],
    }
    labels |= {"val_to_add": [*range(len(times) + 4)], "val_to_add_2": [-7] * (len(times) + 4)}
    computed = [*FEATURES, *(f"transformed_conv_rate:{it}" for it in COMPUTED)]
    request = {"val_to_add": 10, "val_to_add_2": 20}
    question: dict[str, Any] = {
        "repository": str(folder / "feature_repo"),
        "labels": labels,
        "init": True,
        "materialize": ["driver_hourly_stats"],
        "join": [{"features": computed, "labels": rows(labels, list(labels))}],
        "online": [
            {"features": FEATURES, "entities": [{"driver_id": it} for it in DRIVERS]},
            {"features": "driver_activity_v2", "entities": [{"driver_id": it} | request for it in DRIVERS]},
        ],
    }
    return question


def shop(folder: Path) -> Path:
    """The repository in ``fixtures/feast``, with the files that it names."""
    shutil.copytree(SHOP, folder)
    (folder / "data" / "prices").mkdir(parents=True)

    def write(name: str, records: list[dict[str, Any]]) -> None:
        pq.write_table(pa.Table.from_pylist(records), folder / "data" / name)

    def hours(n: int) -> datetime:
        return START + timedelta(hours=n)

    orders = [
        {
            "customer_id": customer,
            "ordered_at": hours(customer + 6 * n),
            "loaded_at": hours(customer + 6 * n + 1),
            "amt": customer + n / 7,
            "items": n,
            "7d": n * 1.1,
            "labels": [f"label {n}"],
            "paid_at": hours(n),
        }
        for customer in (1, 2, 3)
        for n in range(6)
    ]
    write("orders.parquet", orders)
    for part in (0, 1):
        prices = [
            {
                "customer_id": customer,
                "sku": sku,
                "at": hours(part * 12 + customer),
                "price": customer + part / 3,
            }
            for customer in (1, 2, 3)
            for sku in ("a", "b")
        ]
        write(f"prices/part-{part}.parquet", prices)
    write("rates.parquet", [{"at": hours(n * 5), "usd": 1 + n / 100, "height": 1.5} for n in range(5)])
    return folder


def of_shop(folder: Path) -> dict[str, Any]:
    """Of the one in ``fixtures/feast``, copied to a folder that is not there yet."""
    orders = ["amount", "items", "labels", "paid_at"]
    times = [(START + timedelta(hours=n, minutes=n)).isoformat() for n in range(0, 90, 3)]
    labels: dict[str, list[Any]] = {
        # Feast cannot join files of a folder to a key that none of them has.
        "customer_id": [1 + n % 3 for n in range(len(times))],
        "sku": ["ab"[n % 2] for n in range(len(times))],
        "event_timestamp": times,
        "everything": ["all"] * len(times),
        "in_basket": [n % 4 for n in range(len(times))],
    }
    asked = [
        [f"customer_orders:{name}" for name in orders],
        ["Product Prices:price"],
        ["exchange:usd"],
        # The last stays Python.
        ["with_basket:with_basket", "in_lists:half", "in_lists:items_left", *WEIGHTED],
    ]
    question: dict[str, Any] = {
        "repository": str(shop(folder)),
        "labels": labels,
        "init": False,
        "views": [
            *("customer_orders", "Product Prices", "exchange"),
            *("with_basket", "in_lists", "weighted"),
        ],
        "materialize": ["Product Prices"],
        "join": [{"features": it, "labels": rows(labels, [*LABELS])} for it in asked],
        "online": [
            {
                "features": ["Product Prices:price"],
                "entities": [{"customer_id": it, "sku": "b"} for it in (1, 2, 9)],
            }
        ],
    }
    return question
