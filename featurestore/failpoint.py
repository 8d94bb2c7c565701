"""Named steps at which tests kill the process, to show that nothing is lost or doubled.

``FEATURESTORE_KILL_AT=after-dataset-commit`` kills at the first time that step is reached,
``after-dataset-commit#3`` at the third. Without the variable a step costs one look at the environment.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import Literal

Step = Literal[
    "before-push",
    "after-announce",
    "after-push",
    "after-immediate",
    "after-manifest",
    "after-intent",
    "before-part",
    "after-part",
    "before-crash",
    "after-crash",
    "after-quarantine-commit",
    "after-dataset-commit",
    "after-result",
    "before-build-part",
    "after-build-part",
    "after-build-commit",
    "during-publish",
    "before-settle",
    "after-settle",
    "after-publish",
    "before-checkpoint",
    "before-delete",
    "after-checkpoint",
    "before-piece",
    "after-piece",
    "after-decision",
    "after-rebuild-quarantine",
    "after-rebuild-dataset",
    "after-rebuild-schema",
    "after-rebuild",
    "before-event",
    "after-event",
    "before-promote",
    "after-promote",
    "after-intent-erasure",
    "after-quarantine-erasure",
    "after-dataset-erasure",
    "after-history-erasure",
    "after-build-erasure",
    "after-online-erasure",
    "after-retired-erasure",
    "after-sweep-erasure",
    "after-training-erasure",
    "before-record-erasure",
    "after-record-erasure",
    "after-version-training",
    "after-shard-training",
    "after-record-training",
    "before-manifest-training",
    "after-manifest-training",
    "after-result-training",
    "during-retention-training",
]

_reached: Counter[str] = Counter()


def hit(step: Step) -> None:
    """Kill this process, as ``kill -9`` would, if the environment names this step."""
    wanted = os.environ.get("FEATURESTORE_KILL_AT")
    if wanted is None:
        return
    _reached[step] += 1
    name, _, times = wanted.partition("#")
    if name == step and _reached[step] == int(times or 1):
        os.kill(os.getpid(), signal.SIGKILL)
