"""What a dataset holds of arrivals that cannot be read any more: what a rebuild without them loses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from featurestore.storage import paths
from featurestore.storage.delta import BATCH, FILE, Table
from featurestore.storage.objects import Storage


def lost_rows(
    storage: Storage, pipeline: str, places: Collection[tuple[int, int]]
) -> dict[tuple[int, int], int]:
    """``(batch, file)`` to the number of rows that the dataset has of it.

    Raises:
        StorageError: storage did not answer.
    """
    table = Table.open(storage, paths.dataset(pipeline)) if places else None
    if table is None:
        return {}
    import pyarrow.parquet as pq

    wanted, counts = set(places), Counter[tuple[int, int]]()
    batches = {batch for batch, _ in wanted}
    for file in table.files():
        least, greatest = file.stats["minValues"].get(BATCH), file.stats["maxValues"].get(BATCH)
        if least is not None and greatest is not None and not any(least <= n <= greatest for n in batches):
            continue
        with storage.opened(f"{table.path}/{file.path}") as parquet:
            for rows in pq.ParquetFile(parquet).iter_batches(columns=[BATCH, FILE]):
                numbers = zip(rows.column(BATCH).to_pylist(), rows.column(FILE).to_pylist(), strict=True)
                counts.update(place for place in numbers if place in wanted)
    return dict(counts)
