"""Run where MLflow is: a model of the training set `delays`, logged with it. Prints where its weights are, as JSON.

``python log_model.py FOLDER``
"""

# mypy: ignore-errors
from __future__ import annotations

import json
import sys
from pathlib import Path

import mlflow
import numpy as np

import featurestore
from featurestore.mlflow import log_model

COLUMNS = ["last_arr_delay", "arr_delay_mean_7d"]


class Lateness(mlflow.pyfunc.PythonModel):
    """How likely a flight is late, more or less: a weighted sum of delays, 0 for one that is not known."""

    def load_context(self, context):
        self.weights = json.loads(Path(context.artifacts["weights"]).read_text())

    def predict(self, context, model_input, params=None):
        return model_input[COLUMNS].fillna(0).to_numpy() @ self.weights[:-1] + self.weights[-1]


def main(folder):
    data = featurestore.connect().training_set("delays")
    rows = data.to_pandas("train")
    taken = rows[COLUMNS].fillna(0).to_numpy()
    weights, *_ = np.linalg.lstsq(np.column_stack([taken, np.ones(len(taken))]), rows["late"], rcond=None)
    path = Path(folder, "weights.json")
    path.write_text(json.dumps(weights.tolist()))
    model = log_model(
        Lateness(),
        data,
        columns=COLUMNS,
        registered_model_name="delays",
        artifacts={"weights": str(path)},
        pip_requirements=[],
    )
    local = mlflow.artifacts.download_artifacts(model.model_uri, dst_path=str(Path(folder, "model")))
    [kept] = Path(local).rglob("weights.json")
    digest = model.metadata["featurestore"]["digest"]
    print(json.dumps({"uri": model.model_uri, "weights": str(kept), "digest": digest, "rows": len(rows)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
