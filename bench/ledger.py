"""What a million past arrivals cost at start: time, and peak memory of a fresh process."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial

from bench.figure import Figure
from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.checkpoint import KnownArrival, pack
from featurestore.arrivals.files.overwrites import decide
from featurestore.arrivals.ledger import CHECKPOINT_MANIFESTS, Ledger
from featurestore.arrivals.manifest import Action, Entry, Manifest
from featurestore.resources.data_pipeline import OnOverwrite
from featurestore.storage import paths
from featurestore.storage.objects import Storage
from featurestore_transforms.batch.peak import peak_bytes

PAST = 1_000_000
REJECT = partial(decide, on_overwrite=OnOverwrite.REJECT)
FILES = 500
PAIRS = 5


def arrivals(count: int) -> Iterator[Arrival]:
    """Files of many days, in the order of their URIs, none of which exists."""
    for n in range(count):
        uri = f"s3://raw/flights/day={n // 1000:05d}/part-{n % 1000:05d}.parquet"
        yield Arrival(uri, f"{n * 2654435761 % 2**128:032x}", 50_000, n * 1_000_000)


def measure() -> list[Figure]:
    """Start with the longest tail of manifests that a checkpoint leaves, then with a listing merged into it.

    The time that making the listing's values takes is measured by itself, and taken off: medians of runs that take turns.
    """
    question = f"ledger of {PAST:,}"
    with tempfile.TemporaryDirectory() as root:
        _fill(root)
        floor, start = _cost(root, "nothing"), _cost(root, "start")
        pairs = [(_cost(root, "generator"), _cost(root, "listing")) for _ in range(PAIRS)]
    merge_s = statistics.median(listing["seconds"] - made["seconds"] for made, listing in pairs)
    listing = pairs[0][1]
    return [
        Figure(question, "imports alone: peak memory", floor["peak_mib"], "MiB"),
        Figure(question, "start: time", start["seconds"], "s", "< 2 s", start["seconds"] < 2),
        Figure(
            question, "start: peak memory", start["peak_mib"], "MiB", "< 200 MiB", start["peak_mib"] < 200
        ),
        Figure(question, "merge with a listing: time", merge_s, "s", "< 5 s", merge_s < 5),
        Figure(
            question,
            "merge with a listing: peak memory",
            listing["peak_mib"],
            "MiB",
            "< 200 MiB",
            listing["peak_mib"] < 200,
        ),
    ]


def _cost(root: str, what: str) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.ledger", root, what]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    cost: dict[str, float] = json.loads(done.stdout)
    return cost


def _fill(root: str) -> None:
    storage = Storage(root)
    ledger = Ledger(storage, "flights")
    tail = (CHECKPOINT_MANIFESTS - 1) * FILES
    folded = (PAST - tail) // FILES

    def rows() -> Iterator[KnownArrival]:
        for n, arrival in enumerate(arrivals(PAST - tail)):
            yield KnownArrival(arrival.uri, n // FILES + 1, n % FILES, arrival.version, Action.TAKE)

    storage.replace(paths.checkpoint("flights", folded), pack(rows()))
    entries: list[Entry] = []
    number = folded
    for n, arrival in enumerate(arrivals(PAST)):
        if n >= PAST - tail:
            entries.append(Entry(arrival))
        if len(entries) == FILES:
            number += 1
            manifest = Manifest("flights", ledger.uid(), number, "spec", 0, tuple(entries))
            storage.replace(paths.manifest("flights", number), manifest.to_json())
            entries = []


def _run(root: str, what: str) -> None:
    ledger = Ledger(Storage(root), "flights")
    start = time.perf_counter()
    if what == "start":
        ledger.last_batch()
        ledger.committed_batch()
        assert ledger.entry(Arrival("s3://raw/flights/new.parquet", "v1", 1, 0), REJECT)
    elif what == "generator":
        assert sum(1 for _ in arrivals(PAST + 1)) == PAST + 1
    elif what == "listing":
        found = ledger.new_entries(arrivals(PAST + 1), REJECT)
        assert len(list(found)) == 1
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak_mib": peak_bytes() / 2**20}))


if __name__ == "__main__":
    _run(*sys.argv[1:])
