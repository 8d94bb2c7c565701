"""What the files of a pipeline's source were learned to look like, as far as no data engine is needed to say it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager

from featurestore.arrivals.ledger import Ledger
from featurestore.digest import digest
from featurestore.resources.data_pipeline import SourceColumn
from featurestore.storage import paths
from featurestore.storage.objects import Storage, understanding

_HINT = (
    "Restore it from a backup, or from the versions that the bucket keeps. Without one: delete it, and the schema "
    "that the pipeline had before holds"
)


def declaration(columns: Sequence[SourceColumn]) -> str:
    """Names what ``spec.columns`` declares: another declaration replaces the schema that was learned."""
    return digest([column.model_dump(mode="json") for column in columns])


def schema_object(
    storage: Storage, pipeline: str, generation: int, before: int | None = None
) -> tuple[str, bytes] | None:
    """Path and bytes of the schema that the newest batch left, or that batch ``before`` found; None if none did.

    ``generation``: the last rebuild that was promoted.
    """
    folder = paths.schemas(pipeline, generation)
    names = [name for name in storage.names(folder) if before is None or int(name.partition(".")[0]) < before]
    if not names:
        return None
    path = f"{folder}/{names[-1]}"
    return path, storage.read(path)


def understanding_schema(storage: Storage, path: str) -> AbstractContextManager[None]:
    """What goes wrong while the object is read becomes Damaged."""
    return understanding("the schema of a pipeline's source", storage.uri(path), _HINT)


def learned_columns(
    storage: Storage, pipeline: str, columns: Sequence[SourceColumn] | None
) -> dict[str, str] | None:
    """Columns of the source to the names of their types; None if nothing was learned under this declaration.

    Raises:
        Damaged: it cannot be read.
    """
    learned = schema_object(storage, pipeline, Ledger(storage, pipeline).rebuilds.generation())
    if learned is None:
        return None
    path, data = learned
    with understanding_schema(storage, path):
        schema = json.loads(data)
        known: dict[str, str] = {name: str(kind) for name, kind in schema["columns"].items()}
        if columns is not None and schema["declared"] != declaration(columns):
            return None
        return known
