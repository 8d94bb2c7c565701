"""Run where KServe is: a transformer that reads what a model was trained on, the newest version of the training set ``set``."""

# mypy: ignore-errors
from __future__ import annotations

import kserve

import featurestore
from featurestore.client.trained_features import TrainedFeatures
from featurestore.kserve import FeatureTransformer

if __name__ == "__main__":
    arguments, _ = kserve.model_server.parser.parse_known_args()
    trained = TrainedFeatures.of(featurestore.connect().training_set("set"))
    transformer = FeatureTransformer(arguments.model_name, trained)
    transformer.load()
    kserve.ModelServer().start([transformer])
