"""``featurestore-operator``: see ``settings.py`` for its options and ``process.py`` for its parts."""

from __future__ import annotations

import os
import sys
import time

from featurestore_operator.controller import Controller
from featurestore_operator.process import run
from featurestore_operator.settings import parse


def main() -> int:
    """Run the operator; the exit code."""

    def clock() -> int:
        return time.time_ns() // 1000

    return run(
        parse(sys.argv[1:], os.environ),
        lambda cache, api, settings, metrics: Controller(cache, api, settings, metrics, clock),
    )


if __name__ == "__main__":
    sys.exit(main())
