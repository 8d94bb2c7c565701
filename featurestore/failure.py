"""Why something failed, as a value: what is recorded, shown, and handed from one process to another."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from featurestore import errors
from featurestore.errors import FeatureStoreError, TransientError


class Failure(BaseModel):
    """Why a request failed, in the parts of :class:`featurestore.errors.FeatureStoreError`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str
    problem: str
    where: str = ""
    wanted: str = ""
    got: str = ""
    hint: str = ""
    retryable: bool


def as_error(failure: Failure) -> FeatureStoreError:
    """The failure as the error that it was in the other process; an unknown class becomes its nearest relative."""
    kind = getattr(errors, failure.type, None)
    if not (isinstance(kind, type) and issubclass(kind, FeatureStoreError)):
        kind = TransientError if failure.retryable else FeatureStoreError
    parts = {"where": failure.where, "wanted": failure.wanted, "got": failure.got, "hint": failure.hint}
    error: FeatureStoreError = kind(failure.problem, **parts)
    return error


def as_failure(error: FeatureStoreError) -> Failure:
    """The error as it is recorded and shown."""
    return Failure.model_validate(error.to_dict())
