"""Who is told of commits."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from featurestore.resources.metadata import SecretRef
from featurestore.resources.model import Model

SinkUrl = Annotated[
    str, StringConstraints(pattern=r"^https?://[^\s?#@]+(\?[^\s#]*)?$", min_length=8, max_length=1024)
]


class EventSink(Model):
    url: SinkUrl = Field(
        description="Where events are posted, each as a CloudEvent in JSON (structured mode)."
    )
    secret_ref: SecretRef | None = Field(
        None, description="Secret whose key `token` goes with each as a bearer token."
    )


class CommitEvents(Model):
    sink: EventSink = Field(description="Is told of each commit of each view.")
