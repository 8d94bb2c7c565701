"""Bodies of requests and answers: what is checked, and what the OpenAPI document shows."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from featurestore.errors import RequestError
from featurestore.resources.problem import FieldPlaces, problems_of

Column = list[Any]
Columns = dict[Annotated[str, Field(min_length=1, max_length=255)], Column]
_MOST_NAMES = 10_000
_SHOWN = 5
"""Mistakes of a body that are told."""


class FeaturesRequest(BaseModel):
    """Features of some entities, as of now."""

    model_config = ConfigDict(extra="forbid", strict=True)

    features: Annotated[
        str | Annotated[list[str], Field(fail_fast=True)],
        Field(description="view:feature, a view for all its features, or a service"),
    ]
    entities: Annotated[
        Columns, Field(description="Each join key with its values, one per entity", max_length=_MOST_NAMES)
    ]
    full_feature_names: Annotated[bool, Field(description="Names are view__feature")] = False
    statuses: Annotated[bool, Field(description="Say of each value whether it is there")] = False
    event_timestamps: Annotated[bool, Field(description="Say of each value when it was so")] = False


class FeaturesAnswer(BaseModel):
    """One list per feature, with a value per entity, in the order of the request.

    Times are ISO 8601 in UTC, bytes base64; a number that JSON does not have is "NaN", "Infinity" or "-Infinity".
    """

    rows: int
    features: dict[str, Column]
    statuses: dict[str, list[str]] | None = None
    event_timestamps: dict[str, list[str | None]] | None = None
    commits: Annotated[
        dict[str, int],
        Field(
            description="Version of each view's table that the online store holds whole; values may be of a later one"
        ),
    ]


class PushRequest(BaseModel):
    """Rows for a pipeline. Times are ISO 8601, UTC if they have no zone; bytes are base64."""

    model_config = ConfigDict(extra="forbid", strict=True)

    rows: Annotated[
        list[dict[str, Any]], Field(fail_fast=True, description="Each row, by the names of its fields")
    ]


class PushAnswer(BaseModel):
    """The rows are durable."""

    rows: int
    is_new: Annotated[bool, Field(description="False if an earlier push with this key brought them")]
    online: Annotated[
        dict[str, str],
        Field(
            description="Of each view with `write: Immediate`: empty if the rows are read online from now on, else why they "
            "are read only when their batch is published"
        ),
    ] = {}


class FeastRequest(BaseModel):
    """What Feast's clients send."""

    entities: dict[str, Column]
    feature_service: str | None = None
    features: Annotated[list[str], Field(fail_fast=True)] = []
    full_feature_names: bool = False


class FeastNames(BaseModel):
    """Names of the results: the join keys, then the features."""

    feature_names: list[str]


class FeastVector(BaseModel):
    """A value per entity."""

    values: Column
    statuses: list[str]
    event_timestamps: list[str]


class FeastAnswer(BaseModel):
    """What Feast's server answers."""

    metadata: FeastNames
    results: list[FeastVector]


class ViewDescription(BaseModel):
    """A view, what it is made of and how far it has come. ``commit``: of its dataset, that it holds.

    One that is computed on demand has ``request`` and ``inputs``, and nothing of what is about rows.
    """

    name: str
    description: str | None
    owner: str | None
    tags: dict[str, str]
    entity: str | None
    join_keys: dict[str, str]
    features: dict[str, str]
    ttl: str | None
    pipeline: str | None
    online: str | None
    serving: str | None
    commit: int | None
    rows: int | None
    watermark: str | None
    request: dict[str, str] = {}
    inputs: list[str] = []


class ViewList(BaseModel):
    """The views that the caller may read."""

    views: list[ViewDescription]


class ServiceDescription(BaseModel):
    """A service: what a model reads by its name. ``watermark``: of the stalest of its views."""

    name: str
    description: str | None
    owner: str | None
    tags: dict[str, str]
    digest: str
    views: list[str]
    join_keys: dict[str, str]
    features: dict[str, str]
    watermark: str | None


class ServiceList(BaseModel):
    """The services that the caller may read."""

    services: list[ServiceDescription]


class Health(BaseModel):
    """Whether the process serves. ``waiting_for``: what is not loaded yet."""

    status: str
    waiting_for: list[str] = []


Model = TypeVar("Model", bound=BaseModel)


def read_body(model: type[Model], body: bytes) -> Model:
    """The request in a body.

    Raises:
        RequestError: it is not JSON, or not of this form.
    """
    try:
        value = orjson.loads(body)
        return model.model_validate(value)
    except orjson.JSONDecodeError as error:
        raise RequestError("the body is not JSON", got=str(error)) from error
    except ValidationError as error:
        problems = problems_of(error, model, FieldPlaces(value, "the body"))
        first, *others = problems[:_SHOWN]
        if not others:
            raise RequestError(
                first.problem, where=first.where, wanted=first.wanted, got=first.got, hint=first.hint
            ) from error
        left = len(problems) - _SHOWN
        texts = [*map(str, problems[:_SHOWN]), *([f"and {left:,} more"] if left > 0 else [])]
        raise RequestError("; ".join(texts)) from error
