"""What a storage costs the operator that is 20 ms away: requests for each look, time of a resync, lag of a new file."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from bench.controller import ROOT
from bench.delay import Delay, delayed
from bench.figure import Figure
from bench.fleet import NAMESPACES, Fleet
from bench.running import LOOKS, Operator, run

EACH = 300
DELAY_S = 0.02
REST_S = 30.0
BUCKET = "bench"
WAITING = 'featurestore_operator_queue{state="ready"}'


def measure(each: int = EACH) -> list[Figure]:
    """Figures of one operator with ``each`` pipelines and as many views, all on S3."""
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from cluster.control_plane import control_plane
    from cluster.fixtures import apply_crds
    from storage_server import s3

    with (
        tempfile.TemporaryDirectory() as folder,
        control_plane(Path(folder) / "plane") as plane,
    ):
        apply_crds(plane)
        (Path(folder) / "s3" / BUCKET).mkdir(parents=True)
        with (
            s3(Path(folder) / "s3") as environment,
            delayed(urlsplit(environment["AWS_ENDPOINT_URL"]).port or 0, DELAY_S) as delay,
            (Path(folder) / "log").open("wb") as log,
        ):
            fleet = Fleet(Path(folder), each, f"s3://{BUCKET}")
            fleet.create(str(plane.kubeconfig))
            environment = {**environment, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{delay.port}"}
            with run(plane, log, environment) as first:
                figures = [_first_start(first, delay, fleet)]
            with run(plane, log, environment) as second:
                figures += _resync(second, delay, fleet)
                figures += _rest(second, delay, fleet)
                figures += _lag(second, Path(folder) / "s3" / BUCKET, fleet)
    return figures


def _first_start(operator: Operator, delay: Delay, fleet: Fleet) -> Figure:
    operator.until_all_told(2 * fleet.each + NAMESPACES)
    operator.until_quiet()
    return Figure(
        "distant",
        "first look: requests for each resource",
        delay.requests / operator.value(LOOKS),
        "requests",
    )


def _resync(operator: Operator, delay: Delay, fleet: Fleet) -> list[Figure]:
    """All is looked at anew, and nothing is remembered."""
    queued_s = operator.until(lambda: operator.code("/readyz") == 200)
    asked, wanted = delay.requests, 2 * fleet.each + NAMESPACES
    looked_s = operator.until(lambda: operator.value(LOOKS) >= wanted, 0.2) - queued_s
    name = f"resync of {fleet.each:,} views and {fleet.each:,} pipelines by 8 workers"
    return [
        Figure("distant", name, looked_s, "s"),
        Figure("distant", "the same for 5,000 and 5,000", looked_s * 5000 / fleet.each, "s (reckoned)"),
        Figure("distant", "resync: requests for each look", (delay.requests - asked) / wanted, "requests"),
    ]


def _rest(operator: Operator, delay: Delay, fleet: Fleet) -> list[Figure]:
    # Pipelines are polled beside the first looks: as many looks as resources does not mean that each had one.
    operator.until(lambda: operator.value(WAITING) == 0)
    asked, cpu_s, start = delay.requests, operator.cpu_s(), time.monotonic()
    time.sleep(REST_S)
    requests, spent_s = delay.requests - asked, operator.cpu_s() - cpu_s
    late = operator.value(WAITING)
    return [
        Figure("distant", "requests at rest", requests / (time.monotonic() - start), "requests/s"),
        Figure("distant", "CPU of one poll at rest", spent_s / requests * 1000, "ms"),
        Figure("distant", "keys that wait for a worker at rest", late, "keys"),
    ]


def _lag(operator: Operator, bucket: Path, fleet: Fleet) -> list[Figure]:
    """A new file, until there are its Jobs: one of each namespace."""
    mark, dropped = operator.plane.audit.mark(), time.time()
    folder = bucket / "raw" / fleet.names[-1]
    folder.mkdir(parents=True)
    (folder / "late.parquet").write_bytes(b"PAR1")

    def lags() -> list[float]:
        jobs = [it for it in operator.requests(mark) if (it.verb, it.resource) == ("create", "jobs.batch")]
        return [it.at.timestamp() - dropped for it in jobs]

    operator.until(lambda: len(lags()) >= NAMESPACES, 0.5)
    found = lags()
    return [
        Figure("distant", "a new file has its Job (polled each 10 s): median", statistics.median(found), "s"),
        Figure("distant", "a new file has its Job: longest", max(found), "s"),
    ]
