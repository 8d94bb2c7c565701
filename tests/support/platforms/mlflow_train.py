"""Run where MLflow is: a model is logged with its training set, and what MLflow then knows is printed as JSON.

``python mlflow_train.py CODE``: the code, of the documentation, logs ``model`` and leaves ``data`` and ``info``.
"""

# mypy: ignore-errors
from __future__ import annotations

import json
import sys

import mlflow
from mlflow.data import get_source
from mlflow.data.dataset_source_registry import resolve_dataset_source


class Sum(mlflow.pyfunc.PythonModel):
    """Predicts the sum of what it is given, and 0 for what is not there."""

    def predict(self, context, model_input, params=None):
        assert list(model_input.columns) == ["n_1d", "v"], model_input.columns
        return [
            sum(0 if value is None else value for value in row)
            for row in model_input.astype(object).where(model_input.notna(), None).itertuples(index=False)
        ]


def main(code: str) -> None:
    names = {"model": Sum()}
    exec(code, names)
    data, info = names["data"], names["info"]
    [run] = mlflow.search_runs(output_format="list")
    [entry] = run.inputs.dataset_inputs
    found = get_source(entry).load()
    print(
        json.dumps(
            {
                "uri": info.model_uri,
                "status": run.info.status,
                "context": [tag.value for tag in entry.tags],
                "dataset": {
                    "name": entry.dataset.name,
                    "digest": entry.dataset.digest,
                    "type": entry.dataset.source_type,
                    "source": json.loads(entry.dataset.source),
                    "schema": json.loads(entry.dataset.schema)["mlflow_colspec"],
                    "profile": json.loads(entry.dataset.profile),
                },
                "rows": found.to_arrow().num_rows,
                "resolved": resolve_dataset_source(data).digest,
                "metadata": info.metadata,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
