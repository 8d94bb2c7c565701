"""MLflow itself: a model is logged with its training set, and a process that knows nothing but its name scores with it."""

from __future__ import annotations

import html
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from laptop import Laptop
from own_environment import ROOT, OwnEnvironment, own_environment, section
from training import NOON, begin, rows, training_set

from featurestore.client.training_data import TrainingData
from featurestore.storage import paths
from featurestore.training.trained_models import noted_models

PAGE = (ROOT / "docs" / "training-platforms.md").read_text()
TRAIN, SCORE = (
    code.replace('{"tailnum": "N14228"}', '{"k": "e1"}')
    for code in re.findall(r"^```python\n(.*?)^```$", section(PAGE, "MLflow"), re.MULTILINE | re.DOTALL)
)


class Logged(NamedTuple):
    """``told``: what MLflow knew of the model when it was logged."""

    laptop: Laptop
    data: TrainingData
    told: dict[str, Any]
    mlflow: OwnEnvironment
    environ: dict[str, str]

    def scores(self, *requests: tuple[list[dict[str, Any]], str | None]) -> list[Any]:
        found: list[Any] = self.mlflow.ask(
            "mlflow_score.py", SCORE, self.told["uri"], json.dumps(requests), environ=self.environ
        )
        return found


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Logged:
    folder = tmp_path_factory.mktemp("mlflow")
    mlflow = own_environment("mlflow", folder)
    laptop = begin(folder / "project", rows(400), rows(300, seed=1))
    laptop.apply(training_set(split={"by": "Time", "parts": {"train": 0.8, "test": 0.2}}))
    laptop.run()
    environ = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "HOME": str(folder),
        "FEATURESTORE_URI": laptop.storage.root,
    }
    arguments = (
        'registered_model_name="delays", columns=["n_1d", "v"], metadata={"team": "a"}, pip_requirements=[]'
    )
    code = TRAIN.replace('"delays")', '"set")', 1).replace('registered_model_name="delays"', arguments)
    models = Path(laptop.storage.root, paths.trained_models("set"))
    told = mlflow.ask("mlflow_train.py", code, models, environ=environ)
    data = laptop.store(laptop.now).training_set("set")
    return Logged(laptop, data, told, mlflow, environ)


def test_a_run_tells_which_version_of_a_training_set_it_took_and_finds_it_again(logged: Logged) -> None:
    data, dataset = logged.data, logged.told["dataset"]
    assert (logged.told["status"], logged.told["context"]) == ("FINISHED", ["training"])
    assert (dataset["name"], dataset["digest"], dataset["type"]) == ("set", data.digest, "featurestore")
    assert dataset["source"] == {
        "uri": logged.laptop.storage.root,
        "trainingSet": "set",
        "version": data.number,
        "digest": data.digest,
    }
    assert {it["name"]: it["type"] for it in dataset["schema"]} == {
        "k": "string",
        "ts": "datetime",
        "w": "double",
        "v": "long",
        "n_1d": "long",
    }
    assert dataset["profile"]["rows"] == 700
    assert dataset["profile"]["parts"] == {name: part.rows for name, part in data.parts.items()}
    assert logged.told["rows"] == 700
    assert logged.told["resolved"] == data.digest


def test_a_run_has_the_page_of_its_training_set(logged: Logged) -> None:
    data = logged.data
    path, page = logged.told["page"]
    assert path == f"training_sets/set-{data.number}.html"
    rows = [re.findall(r"<td>(.*?)</td>", line) for line in page.splitlines() if line.startswith("<tr><td>")]
    assert [row[:2] for row in rows[:2]] == [[it.name, f"{it.rows:,}"] for it in data.parts.values()]
    assert ["n_1d", "int64", "Feature", "view:n_1d"] in rows
    [view] = data.manifest.pins.views
    assert [view.name, str(view.commit), view.digest, view.spec] in rows
    assert html.unescape(page).count(f"training_set('set', '{data.digest}')") == 1


def test_a_model_keeps_store_features_keys_and_commits(logged: Logged) -> None:
    metadata = logged.told["metadata"]
    kept = metadata["featurestore"]
    assert metadata["team"] == "a"
    assert kept["store"] == logged.laptop.storage.root
    assert (kept["trainingSet"], kept["digest"]) == ("set", logged.data.digest)
    assert kept["features"] == ["view:v", "view:n_1d"]
    assert (kept["columns"], kept["keys"], kept["labels"]) == (["n_1d", "v"], {"k": "string"}, ["w"])
    [view] = logged.data.manifest.pins.views
    assert [it["commit"] for it in kept["pins"]["views"]] == [view.commit]


def test_the_store_knows_which_model_of_which_server_was_trained_on_a_version(logged: Logged) -> None:
    [model] = noted_models(logged.laptop.storage, "set").models
    assert (model.name, model.model_version, model.uri) == ("delays", "1", logged.told["uri"])
    assert (model.version, model.digest) == (logged.data.number, logged.told["dataset"]["digest"])
    assert model.tracking_uri == logged.environ["MLFLOW_TRACKING_URI"]
    assert (model.run, model.columns, model.service) == (logged.told["run"], ("n_1d", "v"), None)


def test_a_model_is_logged_with_a_warning_where_the_store_cannot_be_written(logged: Logged) -> None:
    [warning] = logged.told["warnings"]
    assert logged.told["again"] in warning
    assert "the store does not show it" in warning
    assert logged.told["again"] != logged.told["uri"]


def test_another_process_scores_keys_with_the_features_of_then_and_of_now(logged: Logged) -> None:
    store = logged.laptop.store(logged.laptop.now)
    at = (NOON + timedelta(days=1)).isoformat()
    times = [{"k": f"e{n}", "ts": at} for n in (3, 1, 99, 1)]
    keys = [{"k": it["k"]} for it in times]
    page, then, now = logged.scores((times, "ts"), (keys, None))
    expected = store.get_features(["view:v", "view:n_1d"], times, timestamp_column="ts").to_dict()
    assert [(it["k"], it["v"], it["n_1d"]) for it in then] == list(
        zip(expected["k"], expected["v"], expected["n_1d"], strict=True)
    )
    assert [it["sum"] for it in then] == [(it["v"] or 0) + (it["n_1d"] or 0) for it in then]
    assert any(it["sum"] for it in then)
    assert [it["prediction"] for it in page] == [now[1]["sum"]]
    online = store.get_online_features(["view:v"], keys).to_dict()
    assert [(it["k"], it["v"]) for it in now] == list(zip(online["k"], online["v"], strict=True))
    assert [it["sum"] for it in now] == [it["v"] or 0 for it in now]  # No event is of the last day.
