"""Run where MLflow is: a model is logged with its training set, and what MLflow then knows is printed as JSON.

``python mlflow_train.py CODE FOLDER``: the code, of the documentation, logs ``model`` and leaves ``data`` and ``info``. It is
run once more while the folder, of the store, cannot be written to.
"""

# mypy: ignore-errors
from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

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


def again_beside(folder: Path, code: str) -> tuple[str, list[str]]:
    """URI of the model that the code logs meanwhile, and what was warned of."""
    kept = folder.rename(folder.with_name("kept"))
    folder.write_text("in its way")
    names = {"model": Sum()}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exec(code, names)
    folder.unlink()
    kept.rename(folder)
    told = [str(it.message) for it in caught if "store" in str(it.message)]
    return names["info"].model_uri, told


def main(code: str, folder: str) -> None:
    names = {"model": Sum()}
    exec(code, names)
    data, info = names["data"], names["info"]
    trained_on = f"tags.\"featurestore.digest\" = '{data.digest}'"
    [run] = mlflow.search_runs(filter_string=trained_on, output_format="list")
    [page] = mlflow.artifacts.list_artifacts(run_id=run.info.run_id, artifact_path="training_sets")
    [entry] = run.inputs.dataset_inputs
    found = get_source(entry).load()
    again, told = again_beside(Path(folder), code)
    print(
        json.dumps(
            {
                "uri": info.model_uri,
                "run": info.run_id,
                "again": again,
                "warnings": told,
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
                "page": [page.path, mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/{page.path}")],
                "rows": found.to_arrow().num_rows,
                "resolved": resolve_dataset_source(data).digest,
                "metadata": info.metadata,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
