"""Erasure: in a cluster, all that is stored of some keys goes, and stays away."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from featurestore.resources.location import NO_CHAIN, NO_CREDENTIALS, SOURCE_PROTOCOL
from featurestore.resources.metadata import Description, Name, SecretRef
from featurestore.resources.model import Model
from featurestore.resources.resource import Resource
from featurestore.resources.rule import Transition, exactly_one
from featurestore.resources.status import Count, Digest, KindStatus, Time


class KeyReturn(StrEnum):
    """Whether erased keys may come again."""

    NEVER = "Never"
    LATER_FILES = "LaterFiles"


class ErasedKeyFile(Model):
    uri: str = Field(
        description="A Parquet or CSV file with the join keys as columns, one key a row. It has the keys in the clear: "
        "delete it when the erasure is ready.",
        min_length=1,
        max_length=1024,
    )
    secret_ref: SecretRef | None = Field(
        None, description="Secret with the credentials of the file. Without it, those of the store are used."
    )
    rules = (NO_CREDENTIALS, NO_CHAIN, SOURCE_PROTOCOL)


class KeyErasureSpec(Model):
    entity: Name | None = Field(None, description="Whose keys they are: the entity of views.")
    view: Name | None = Field(None, description="Only in the pipeline of this view, and in what reads it.")
    keys: ErasedKeyFile = Field(description="The keys to erase.")
    may_return: KeyReturn = Field(
        KeyReturn.NEVER, description="Whether files that arrive after the erasure may bring the keys again."
    )
    description: Description = Field("", description="Why. It stays, so it should not tell who.")
    rules = (exactly_one("entity", "view"),)
    transitions = (
        Transition(
            message="an erasure stays as it is: make another one",
            holds=lambda old, new: old == new,
            cel="self == oldSelf",
        ),
    )


class KeyErasureStatus(KindStatus):
    accepted_digest: Digest | None = Field(None, description="The spec that counts.")
    number: Count | None = Field(None, description="Its number in the store, from when it was begun.")
    keys: Count | None = Field(None, description="How many keys were erased.")
    rows: Count | None = Field(None, description="How many rows went, of all tables together.")
    sources: Count | None = Field(None, description="How many source files still have the keys.")
    finish_time: Time | None = Field(None, description="When its record was signed.")
    record: Annotated[str, StringConstraints(max_length=2048)] | None = Field(
        None, description="Where its record is, which names all that went and what is left to you."
    )
    key_id: Annotated[str, StringConstraints(max_length=64)] | None = Field(
        None, description="Which key it is signed with."
    )
    signature: Annotated[str, StringConstraints(max_length=128)] | None = Field(
        None, description="Of the record, HMAC-SHA256."
    )
    next_attempt_time: Time | None = Field(
        None, description="When what failed is retried. Null if nothing fails."
    )


class KeyErasure(Resource):
    """All that is stored of some keys is erased, by a Job, and a signed record tells of it."""

    kind: Literal["Erasure"] = Field("Erasure", description="What it is.")
    spec: KeyErasureSpec = Field(description="What is wanted.")
