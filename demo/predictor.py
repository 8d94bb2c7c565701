"""Run where KServe is: a model server with the weights that MLflow kept.

``WEIGHTS=PATH python predictor.py --model_name delays --http_port PORT``
"""

# mypy: ignore-errors
from __future__ import annotations

import json
import os
from pathlib import Path

import kserve


class Lateness(kserve.Model):
    def __init__(self, name):
        super().__init__(name)
        self.weights = json.loads(Path(os.environ["WEIGHTS"]).read_text())
        self.ready = True

    def predict(self, payload, headers=None):
        *weights, base = self.weights
        instances = payload["instances"]
        return {"predictions": [sum(map(float.__mul__, weights, it)) + base for it in instances]}


if __name__ == "__main__":
    arguments, _ = kserve.model_server.parser.parse_known_args()
    kserve.ModelServer().start([Lateness(arguments.model_name)])
