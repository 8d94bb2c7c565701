"""Errors as RFC 9457 has them: ``application/problem+json``, without paths, addresses or traces."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from pydantic import BaseModel, Field

from featurestore.client.pushed_rows import RowError, RowsRefused
from featurestore.errors import FeatureStoreError, NotFound, RequestError, TransientError

PROBLEM_JSON = "application/problem+json"


class ProblemRow(BaseModel):
    """A value that does not fit. ``row``: from 0; absent if it is about the whole column."""

    row: int | None = None
    field: str
    problem: str


class ProblemDetails(BaseModel):
    """What went wrong with a request."""

    type: str = Field(
        default="about:blank", description="Always about:blank: the status says what kind it is"
    )
    title: str = Field(description="The name of the status")
    status: int
    detail: str = Field(description="What was wrong with this request")
    hint: str | None = Field(default=None, description="What to do about it")
    errors: list[ProblemRow] | None = Field(default=None, description="Values of pushed rows that do not fit")


class HttpProblem(Exception):
    """A request that is answered with a problem. ``retry_after_s``: when the same request may succeed."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        hint: str = "",
        retry_after_s: int | None = None,
        errors: Sequence[RowError] = (),
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.hint, self.retry_after_s = status, detail, hint, retry_after_s
        self.errors = errors

    def details(self) -> ProblemDetails:
        return ProblemDetails(
            title=self.status.phrase,
            status=self.status.value,
            detail=self.detail,
            hint=self.hint or None,
            errors=[
                ProblemRow(row=error.row, field=error.field, problem=error.problem) for error in self.errors
            ]
            or None,
        )


UNAVAILABLE_S = 1


def http_problem(error: Exception) -> HttpProblem:
    """The problem that an error is to a caller. What it says of this machine or of storage stays here.

    >>> http_problem(RequestError("a join key is missing", wanted="a column 'tailnum'")).status.value
    422
    """
    match error:
        case HttpProblem():
            return error
        case NotFound():
            return HttpProblem(HTTPStatus.NOT_FOUND, _error_text(error), hint=error.hint)
        case RowsRefused():
            status = HTTPStatus.UNPROCESSABLE_ENTITY
            return HttpProblem(status, _error_text(error), hint=error.hint, errors=error.errors)
        case RequestError():
            return HttpProblem(HTTPStatus.UNPROCESSABLE_ENTITY, _error_text(error), hint=error.hint)
        case TransientError():
            return HttpProblem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "the store does not answer, or does not hold what was asked for",
                hint="The log of the server says why",
                retry_after_s=UNAVAILABLE_S,
            )
        case _:
            return HttpProblem(
                HTTPStatus.INTERNAL_SERVER_ERROR, "an unexpected error", hint="The log of the server has it"
            )


def _error_text(error: FeatureStoreError) -> str:
    parts = {"in": error.where, "wanted": error.wanted, "got": error.got}
    details = ", ".join(f"{word} {text}" for word, text in parts.items() if text)
    return f"{error.problem}: {details}" if details else error.problem
