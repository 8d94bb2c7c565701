"""Models in MLflow that know their data: the training set as a dataset, and features for scoring.

``log_model(model, training_set)`` keeps store, features, keys and commits with a model; ``score(model_uri, keys)`` reads the
features that it was trained on, and predicts. MLflow is loaded when one of them is called. The room may use ``client``;
``client`` finds ``training_dataset`` by its name. Start reading at ``models.py``.
"""

from featurestore.mlflow.models import log_model, score, trained_features

__all__ = ["log_model", "score", "trained_features"]
