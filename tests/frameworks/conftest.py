"""A training set of some shards, and the scripts that read it where a framework is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from framework_set import AskFramework, Made, example
from own_environment import own_environment
from training import begin, rows, training_set


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    laptop = begin(tmp_path_factory.mktemp("set"), rows(400), rows(300, seed=1))
    laptop.apply(training_set(shards={"rows": 100}))
    laptop.run()
    data = laptop.store(laptop.now).training_set("set")
    labels = data.to_arrow().column("w").to_pylist()
    assert len(set(labels)) == 700
    return Made(laptop.storage.root, sorted(labels))


@pytest.fixture
def ask(made: Made, tmp_path: Path) -> AskFramework:
    def run(framework: str, script: str) -> Any:
        environ = {"HOME": str(tmp_path), "FEATURESTORE_URI": made.store}
        return own_environment(framework, tmp_path).ask(
            script, made.store, example(framework), environ=environ
        )

    return run
