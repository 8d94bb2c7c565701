"""Models are logged with the features that they were trained on, and are scored with these."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featurestore.client.answers import library
from featurestore.client.connection import Store, connect
from featurestore.client.trained_features import TrainedFeatures
from featurestore.client.training_data import TrainingData
from featurestore.errors import FeatureStoreError, RequestError
from featurestore.mlflow.training_set_page import training_set_page
from featurestore.redaction import redact
from featurestore.timestamps import current_us
from featurestore.training.trained_models import TrainedModel, record_model
from featurestore.views.served import ServedViews

if TYPE_CHECKING:
    import pandas as pd

METADATA = "featurestore"
"""Key of the model's metadata that has what the model reads."""
_FLAVORS = (
    "sklearn",
    "xgboost",
    "lightgbm",
    "catboost",
    "statsmodels",
    "keras",
    "tensorflow",
    "onnx",
    "spacy",
)
_FLAVOR_OF = {**{name: name for name in _FLAVORS}, "torch": "pytorch", "prophet": "prophet"}


def log_model(
    model: Any,
    training_set: TrainingData,
    *,
    columns: Sequence[str] | None = None,
    flavor: Any = None,
    name: str = "model",
    **arguments: Any,
) -> Any:
    """Log a model with what it was trained on; what MLflow's ``log_model`` returns.

    The training set is an input of the run that is active; without one, a run is begun and ended. Its page is an artifact
    of the run, ``training_sets/<name>-<version>.html``, and the run's tags name it. The model's metadata say the store, the
    features, the keys, and the commits and definitions of the views. The store keeps which model it was, for the pages of
    the training set and of its service; where it cannot be written, a warning says so.

    ``columns``: what the model takes, in this order, if not all features of the set. ``flavor``: a module of MLflow such as
    ``mlflow.sklearn``, if the type of the model does not tell it. ``arguments``: for its ``log_model``.

    Raises:
        RequestError: MLflow is not installed, the flavor is not known, or the set does not say what its features are.
    """
    mlflow = library("mlflow")
    trained = TrainedFeatures.of(training_set, columns)
    flavor = flavor or _flavor(model)
    model_argument = {"python_model": model} if flavor.__name__ == "mlflow.pyfunc" else {}
    metadata = {**(arguments.pop("metadata", None) or {}), METADATA: trained.to_dict()}
    with nullcontext() if mlflow.active_run() else mlflow.start_run():
        mlflow.log_input(training_set.to_mlflow(), context="training")
        mlflow.log_text(
            training_set_page(training_set), f"training_sets/{training_set.name}-{training_set.number}.html"
        )
        mlflow.set_tags(
            {
                "featurestore.training_set": training_set.name,
                "featurestore.version": str(training_set.number),
                "featurestore.digest": training_set.digest,
            }
        )
        positional = () if model_argument else (model,)
        info = flavor.log_model(*positional, **model_argument, name=name, metadata=metadata, **arguments)
    version = info.registered_model_version
    model_record = TrainedModel(
        name=arguments.get("registered_model_name") or name,
        model_version=None if version is None else str(version),
        uri=info.model_uri,
        tracking_uri=redact(mlflow.get_tracking_uri()),
        run=info.run_id,
        training_set=training_set.name,
        version=training_set.number,
        digest=training_set.digest,
        service=training_set.manifest.definition["features"].get("service"),
        columns=trained.columns,
        logged_us=current_us(),
    )
    try:
        record_model(training_set.storage, model_record)
    except FeatureStoreError as error:
        warnings.warn(
            f"{info.model_uri} is logged, but the store does not show it with its training set: {error}",
            stacklevel=2,
        )
    return info


def trained_features(model_uri: str) -> TrainedFeatures:
    """What a logged model was trained on.

    Raises:
        RequestError: MLflow is not installed, or the model was not logged with a training set.
    """
    library("mlflow")
    info = import_module("mlflow.models").get_model_info(model_uri)
    return TrainedFeatures.read((info.metadata or {}).get(METADATA), model_uri)


def score(
    model_uri: str,
    keys: Any,
    *,
    store: Store | str | Path | None = None,
    timestamp_column: str | None = None,
    prediction_column: str = "prediction",
    allow_changed: bool = False,
) -> pd.DataFrame:
    """The keys, their features and what the model predicts, in one frame, in the order of the keys.

    ``keys``: a frame, a dict of lists or a list of dicts with the columns that the features need. The features are those
    of the training set, whatever its service has become; online and of now, or of the times in ``timestamp_column``.
    ``store``: if it is not where the training set was. ``allow_changed``: also if views define the features otherwise.

    A model that predicts several columns gives those instead of ``prediction_column``.

    Raises:
        NotFound: a view or a feature is not there any more.
        RequestError: the model was not logged with a training set, its features are defined otherwise now, keys are
            missing, or columns would have the same name.
        StorageError: storage or the online store did not answer.
    """
    trained = trained_features(model_uri)
    opened = store if isinstance(store, Store) else connect(store or trained.store)
    if not allow_changed:
        storage = opened.project.storage
        trained.require_same(storage, ServedViews(storage))
    if timestamp_column is None:
        features = opened.get_online_features(trained.features, keys)
    else:
        features = opened.get_features(trained.features, keys, timestamp_column=timestamp_column)
    frame = features.to_pandas()
    missing = [column for column in trained.columns if column not in frame.columns]
    if missing:
        raise RequestError(
            "the model needs columns that are not there", where="keys", wanted=", ".join(missing)
        )
    model = import_module("mlflow.pyfunc").load_model(model_uri)
    predicted = _columns(model.predict(frame[list(trained.columns)]), frame, prediction_column)
    for column in predicted:
        if column in frame.columns:
            raise RequestError(
                f"two columns would have the name {column!r}",
                where="prediction_column",
                hint="Choose another one",
            )
    return frame.assign(**predicted)


def _columns(predicted: Any, frame: pd.DataFrame, name: str) -> dict[str, Any]:
    """Column name to values of what a model gave."""
    pandas = library("pandas")
    if isinstance(predicted, pandas.DataFrame):
        columns = {str(column): predicted[column].array for column in predicted.columns}
    else:
        values = predicted.array if isinstance(predicted, pandas.Series) else list(predicted)
        columns = {name: values}
    for values in columns.values():
        if len(values) != len(frame):
            raise RequestError(
                "the model did not predict a value for each row",
                where=name,
                wanted=f"{len(frame)} values",
                got=str(len(values)),
            )
    return columns


def _flavor(model: Any) -> Any:
    """The module of MLflow that logs such models."""
    pyfunc = import_module("mlflow.pyfunc")
    for kind in type(model).__mro__:
        if (package := kind.__module__.partition(".")[0]) in _FLAVOR_OF:
            return import_module(f"mlflow.{_FLAVOR_OF[package]}")
    if isinstance(model, pyfunc.PythonModel) or callable(model):
        return pyfunc
    raise RequestError(
        "the type of the model does not tell how MLflow logs it",
        where="model",
        got=f"{type(model).__module__}.{type(model).__qualname__}",
        hint="Pass flavor=, such as mlflow.sklearn",
    )
