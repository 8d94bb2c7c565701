"""Run where MLflow is, in another process than the one that logged the model: prints the rows of ``score`` as JSON.

``python mlflow_score.py CODE MODEL_URI REQUESTS``: the code, of the documentation, leaves ``score`` and ``frame``;
requests are a JSON list of ``[keys, timestamp_column or null]``.
"""

# mypy: ignore-errors
from __future__ import annotations

import json
import sys


def main(code: str, uri: str, requests: str) -> None:
    names = {}
    exec(code, names)
    frames = [names["frame"]]
    frames += [
        names["score"](uri, keys, timestamp_column=column, prediction_column="sum")
        for keys, column in json.loads(requests)
    ]
    print(
        json.dumps(
            [json.loads(it.to_json(orient="records", date_format="iso", date_unit="us")) for it in frames]
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
