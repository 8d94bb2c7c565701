"""A worker process without a data engine: it records what a run would record, and fails as it is told.

For tests of the runner alone. It speaks the protocol of ``featurestore_transforms --serve``. A file ``fail`` in its
folder holds a failure as JSON and how often it is given; ``die`` makes it kill itself, once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.result import BatchResult
from featurestore.storage import paths
from featurestore.storage.objects import Storage
from featurestore.views.builds import BuildResult, record_build


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        answer(request)


def answer(request: dict[str, Any]) -> None:
    if Path("die").exists():
        Path("die").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    if Path("fail").exists():
        failure = json.loads(Path("fail").read_text())
        failure["times"] -= 1
        if failure["times"]:
            Path("fail").write_text(json.dumps(failure))
        else:
            Path("fail").unlink()
        say({"failure": failure["failure"]})
        return
    storage = Storage(request["root"])
    say({"progress": {"rows": 1}})
    result = batch(storage, request) if request["kind"] == "batch" else build(storage, request)
    say({"result": result.model_dump(mode="json")})


def batch(storage: Storage, request: dict[str, Any]) -> BatchResult:
    name, number = request["pipeline"], request["number"]
    ledger = Ledger(storage, name)
    assert ledger.committed_batch() >= number - 1, "batches run in order"
    files = len(ledger.manifest(number).entries)
    result = BatchResult(
        pipeline=name,
        number=number,
        dataset_version=number,
        files=files,
        files_quarantined=0,
        rows_read=files,
        rows_committed=files,
        rows_quarantined=0,
        rows_dropped=0,
        finished_us=time.time_ns() // 1000,
    )
    storage.replace(paths.result(name, number), result.model_dump_json().encode())
    return result


def build(storage: Storage, request: dict[str, Any]) -> BuildResult:
    result = BuildResult(
        view=request["view"],
        digest=request["digest"],
        source_version=request["to_version"],
        version=request["to_version"],
        rows=request["to_version"],
        rows_quarantined=0,
        watermark_us=None,
        finished_us=time.time_ns() // 1000,
    )
    record_build(storage, result)
    return result


def say(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main()
