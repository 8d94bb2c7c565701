"""An operator that only says what it sees: everything of the real one but the controller.

``python observing_operator.py OPTIONS``: takes the operator's options, and prints a line of JSON for each look.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from featurestore_operator.informer.cache import Cache
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.object_key import Key
from featurestore_operator.metrics import Metrics
from featurestore_operator.process import run
from featurestore_operator.settings import Settings, parse


class LookPrinter:
    def __init__(self, cache: Cache, api: Api, settings: Settings, metrics: Metrics) -> None:
        self._cache = cache

    def handle(self, key: Key) -> float | None:
        item = self._cache.get(key)
        line: dict[str, Any] = {**key._asdict(), "there": item is not None, "at": time.time()}
        if item is not None:
            line["description"] = item["spec"].get("description", "")
            line["fields"] = sorted(item["metadata"])
        if key.kind == "DataPipeline":
            jobs = self._cache.jobs(key.namespace, pipeline=key.name)
            line["jobs"] = [it["metadata"]["name"] for it in jobs]
            line["pods"] = [
                it["metadata"]["name"] for job in line["jobs"] for it in self._cache.pods(key.namespace, job)
            ]
        os.write(1, f"{json.dumps(line)}\n".encode())
        return None


if __name__ == "__main__":
    sys.exit(run(parse(sys.argv[1:], os.environ), lambda *parts: (LookPrinter(*parts), None, None)))
