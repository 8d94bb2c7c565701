"""Models that were trained on versions of a training set, as whoever logged them has told it."""

from __future__ import annotations

from typing import NamedTuple

from featurestore.digest import canonical_json, digest
from featurestore.errors import Damaged
from featurestore.resources.model import Model
from featurestore.storage import paths
from featurestore.storage.json_record import read_record
from featurestore.storage.objects import Storage

SHOWN = 25
"""Of a training set with more models, the newest."""
_DIGITS = 16


class TrainedModel(Model):
    """One that was trained on version ``version`` of a training set, whose digest is ``digest``.

    ``name``: that it is registered under, with ``model_version``; of one that is not registered, as it was logged. ``uri``: by
    which it is loaded. ``tracking_uri``: of the server that knows it, without credentials. ``service``: whose features the
    set had. ``columns``: what the model takes, in its order.
    """

    name: str
    model_version: str | None = None
    uri: str
    tracking_uri: str
    run: str | None = None
    training_set: str
    version: int
    digest: str
    service: str | None = None
    columns: tuple[str, ...] = ()
    logged_us: int


class NotedModels(NamedTuple):
    """Models, the newest first, and places of records that are not what was written."""

    models: list[TrainedModel]
    damaged: list[str]


def record_model(storage: Storage, model: TrainedModel) -> None:
    """Let readers find the model by its training set.

    Raises:
        StorageError: storage did not answer, or may not be written.
    """
    content = model.model_dump(mode="json", by_alias=True)
    where = f"{model.logged_us:0{_DIGITS}d}-{digest(content)}"
    storage.put_if_absent(paths.trained_model(model.training_set, where), canonical_json(content))


def noted_models(storage: Storage, training_set: str) -> NotedModels:
    """The models of a training set, :data:`SHOWN` of them at most. A damaged record hides no other.

    Raises:
        StorageError: storage did not answer.
    """
    names = sorted(storage.names(paths.trained_models(training_set)), reverse=True)
    noted = NotedModels([], [])
    for name in [name for name in names if name.endswith(".json")][:SHOWN]:
        path = paths.trained_model(training_set, name.removesuffix(".json"))
        hint = f"Delete {storage.uri(path)}: nothing but pages reads it"
        try:
            model = read_record(storage, path, TrainedModel, "the record of a model", hint)
        except Damaged:
            noted.damaged.append(storage.uri(path))
        else:
            noted.models.extend([] if model is None else [model])
    return noted
