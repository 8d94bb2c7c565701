"""A file that ends each pod that reads it goes to quarantine, and all others are committed, in a cluster as on a laptop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.control_plane import ControlPlane
from cluster_story import Story, story
from examples import exhaustive

from featurestore.quarantine.entries import entries
from featurestore.storage.objects import Storage

pytestmark = pytest.mark.slow
HAZARD = """
import ctypes, time
def f(rows):
    what = rows.select("k").collect()["k"][0]
    if what == "crash": ctypes.string_at(0)
    if what == "loop":
        while True: time.sleep(0.1)
    return rows
"""


@pytest.fixture
def it(controllers: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Story]:
    with story(controllers, namespace, tmp_path) as told:
        yield told


@pytest.mark.parametrize(
    ("what", "deadline", "rule", "words"),
    [
        ("crash", "10m", "file:killed", "signal SIGSEGV"),
        # Each pod that looks for the file takes its whole time.
        *([("loop", "15s", "file:timeout", "hazard.py line 7 in f")] if exhaustive() else []),
    ],
)
def test_all_but_the_file_that_ends_its_pods_are_committed(
    it: Story, what: str, deadline: str, rule: str, words: str
) -> None:
    (it.folder / "hazard.py").write_text(HAZARD)
    pipeline = it.pipeline(
        transforms=[{"python": {"callable": "hazard:f"}}],
        job={
            "activeDeadline": deadline,
            "template": {"env": [{"name": "PYTHONPATH", "value": str(it.folder)}]},
        },
    )
    for number in range(3):
        k = what if number == 1 else "good"
        it.drop(f"{number}.parquet", {"k": [k], "ts": ["2024-01-01T00:00:00"], "v": [number]})
    it.apply(it.store(), pipeline)
    it.start()
    it.until("datapipeline", "events", "UpToDate", rows=2, batch=1, within_s=300)
    (caught,) = entries(Storage(it.root), "pipelines", "events")
    assert (caught.file, caught.rule, caught.rows) == (1, rule, None)
    assert words in caught.reason
