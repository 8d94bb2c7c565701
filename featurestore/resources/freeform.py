"""Parts of Kubernetes' own objects that are passed on as they are: the API server checks them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue, StringConstraints, WithJsonSchema

MOST_FIELDS = 64
FieldName = Annotated[str, StringConstraints(min_length=1, max_length=253)]
Freeform = Annotated[
    dict[FieldName, JsonValue],
    Field(max_length=MOST_FIELDS),
    WithJsonSchema(
        {"type": "object", "maxProperties": MOST_FIELDS, "x-kubernetes-preserve-unknown-fields": True}
    ),
]
