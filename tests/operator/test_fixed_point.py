"""From any state that can be reached a fixed point is reached, and there the operator writes nothing."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster.control_plane import ControlPlane
from cluster.fixtures import namespace_of
from cluster_story import Story, story
from examples import sample

from featurestore_operator.kube.api_resources import JOB, POD

pytestmark = pytest.mark.slow
STEPS = 14
MOST_PAUSE_S = 1.0
FEATURES = [{"name": "v", "type": "int64", "column": "v"}, {"name": "w", "type": "int64", "column": "v"}]


class Walk:
    """Steps that a seed chooses, in whatever state they find the cluster."""

    def __init__(self, it: Story, seed: int) -> None:
        self._it, self._random = it, random.Random(seed)
        self._operator = it.start()
        self.steps: list[str] = []

    def step(self) -> None:
        actions: list[Callable[[], None]] = [
            *(self._file, self._file, self._pipeline, self._view, self._recreate, self._store),
            *(self._job, self._pod, self._status, self._beside, self._kill),
        ]
        chosen = self._random.choice(actions)
        self.steps.append(chosen.__name__)
        chosen()
        # The walk is through states that pass: so it does not wait for any.
        time.sleep(self._random.uniform(0, MOST_PAUSE_S))

    def _file(self) -> None:
        self._it.next()

    def _pipeline(self) -> None:
        self._it.apply(self._it.pipeline(description=str(self._random.random())))

    def _view(self) -> None:
        self._it.apply(self._it.view(features=FEATURES[: self._random.randint(1, 2)]))

    def _recreate(self) -> None:
        kind, name = self._random.choice([("datapipeline", "events"), ("featureview", "things")])
        self._it.delete(kind, name)
        self._it.apply(self._it.pipeline(), self._it.view())

    def _store(self) -> None:
        self._it.delete("featurestore", "default")
        self._it.apply(self._it.store())

    def _job(self) -> None:
        for job in self._it.jobs()[-1:]:
            self._it.api.delete(JOB, self._it.namespace, job["metadata"]["name"])

    def _pod(self) -> None:
        for pod in self._it.api.list(POD, self._it.namespace)[-1:]:
            self._it.api.delete(POD, self._it.namespace, pod["metadata"]["name"])

    def _status(self) -> None:
        self._it.plane.kubectl(
            *("patch", "-n", self._it.namespace, "featureview", "things"),
            *("--subresource=status", "--type=merge", '--patch={"status":null}'),
        )

    def _beside(self) -> None:
        self._it.delete("configmap", "featurestore-default")

    def _kill(self) -> None:
        self._operator.server.kill()
        self._operator = self._it.start(wait=False)


@pytest.mark.parametrize("seed", sample([1, 2], 1))
def test_after_any_walk_all_is_there_and_at_rest_nothing_is_written(
    controllers: ControlPlane, tmp_path: Path, seed: int
) -> None:
    with namespace_of(controllers) as namespace, story(controllers, namespace, tmp_path) as it:
        it.apply(it.store(), it.pipeline(), it.view())
        it.next()
        walk = Walk(it, seed)
        for _ in range(STEPS):
            walk.step()
        try:
            it.settle()
        except AssertionError as error:
            raise AssertionError(f"after {walk.steps}: {error}") from None
        assert controllers.audit.writes("operator"), "the audit log tells of the operator's writes"
        it.rest()
