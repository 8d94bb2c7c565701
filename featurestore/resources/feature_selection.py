"""Features of one view, as lists of features name them: ``"view:feature"``, or the view with a role and other keys."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    WithJsonSchema,
    model_serializer,
)
from pydantic_core import PydanticCustomError

from featurestore.resources.metadata import NAME_PATTERN, Name, resource_name
from featurestore.resources.model import Model
from featurestore.resources.rule import Unique
from featurestore.resources.value import FEATURE_PATTERN, ColumnName, FeatureName

ALL = "*"
SERVED_PATTERN = r"^[A-Za-z][A-Za-z0-9_]*$"
ServedName = Annotated[str, StringConstraints(pattern=SERVED_PATTERN, min_length=1, max_length=127)]
"""Of a feature as requests name it: with its window, if it is aggregated."""
FORM = "view:feature, view:* for all features of a view, or {view, as, joinKeyMap, features}"


class FeatureSelection(Model):
    """Features of a view. ``features``: None means all."""

    view: Name = Field(description="FeatureView that they are of.")
    role: FeatureName | None = Field(
        None, alias="as", description="What stands before their full names, if not the view's name."
    )
    join_key_map: Annotated[dict[ColumnName, ColumnName], Field(max_length=8)] = Field(
        {}, description="Join key of the view to the column of the entities that has it, if that is another."
    )
    features: Annotated[tuple[ServedName, ...], Unique()] | None = Field(
        None, min_length=1, max_length=1000, description="Their names. Default: all of the view."
    )

    @property
    def called(self) -> str:
        """What full names begin with."""
        return self.role or self.view

    @model_serializer(mode="wrap")
    def _short(self, write: SerializerFunctionWrapHandler) -> Any:
        """As one writes it."""
        if self.role is None and not self.join_key_map and (self.features is None or len(self.features) == 1):
            return f"{self.view}:{self.features[0] if self.features else ALL}"
        return write(self)


def view_of(text: str) -> str:
    """The view that ``view:feature`` is about.

    >>> view_of("aircraft_delays:last_arr_delay")
    'aircraft-delays'
    """
    return resource_name(text.partition(":")[0])


def _of_text(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    _, colon, feature = value.partition(":")
    view, feature = view_of(value), feature if colon else ALL
    if not re.match(NAME_PATTERN, view) or not (feature == ALL or re.match(FEATURE_PATTERN, feature)):
        raise PydanticCustomError("selection", "wanted {form}", {"form": FORM})
    return {"view": view} if feature == ALL else {"view": view, "features": [feature]}


FeatureSelections = Annotated[
    tuple[
        Annotated[
            FeatureSelection,
            BeforeValidator(_of_text),
            WithJsonSchema({"x-kubernetes-preserve-unknown-fields": True}),
        ],
        ...,
    ],
    Field(max_length=200),
]
"""Each item a text or a mapping, which a definition of the API server cannot say."""
