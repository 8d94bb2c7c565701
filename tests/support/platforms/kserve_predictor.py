"""Run where KServe is: a model server whose model predicts what it was given.

``python kserve_predictor.py --model_name echo --http_port PORT --enable_grpc false``
"""

# mypy: ignore-errors
from __future__ import annotations

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer, model_server


class Echo(Model):
    def __init__(self, name):
        super().__init__(name)
        self.ready = True

    def predict(self, payload, headers=None):
        if not isinstance(payload, InferRequest):
            return {"predictions": payload["instances"], "asked": sorted(payload)}
        outputs = [
            InferOutput(name=it.name, shape=list(it.shape), datatype=it.datatype, data=it.data)
            for it in payload.inputs
        ]
        return InferResponse(
            response_id=payload.id,
            model_name=self.name,
            infer_outputs=outputs,
            parameters={"frame": str(payload.as_dataframe().shape)},
        )


if __name__ == "__main__":
    arguments, _ = model_server.parser.parse_known_args()
    ModelServer().start([Echo(arguments.model_name)])
