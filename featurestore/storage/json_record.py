"""Records: small JSON objects of one model each, beside the data that they tell of."""

from __future__ import annotations

from typing import TypeVar

from featurestore.resources.model import Model
from featurestore.storage.objects import Storage, understanding

M = TypeVar("M", bound=Model)


def read_record(storage: Storage, path: str, model: type[M], what: str, hint: str) -> M | None:
    """The record at a path; None if there is none.

    ``what``: its name in an error, ``hint``: what to do if it cannot be read.

    Raises:
        Damaged: it is not what was written.
        StorageError: storage did not answer.
    """
    data = storage.find(path)
    if data is None:
        return None
    with understanding(what, storage.uri(path), hint):
        return model.model_validate_json(data)
