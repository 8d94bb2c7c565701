"""Who asks, and what they may read: what every way of authentication answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol

from featurestore.server.problem_details import HttpProblem


@dataclass(frozen=True)
class Caller:
    """``name``: as the audit log has it. ``extra``: what Kubernetes says more of a user. ``pushes``: what a file of
    tokens says.
    """

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, list[str]] = field(default_factory=dict, compare=False)
    pushes: bool = False


ANYBODY = Caller("anybody")
VIEWS = "featureviews"


class Authenticator(Protocol):
    """``asks``: False if everybody may read everything. ``waits``: whether it must be called in a thread."""

    asks: bool
    waits: bool

    def caller(self, token: str) -> Caller:
        """Whose token it is.

        Raises:
            HttpProblem: nobody's (401), or it cannot be found out now (503).
        """
        ...

    def readable(self, caller: Caller, names: Collection[str], plural: str = VIEWS) -> set[str]:
        """Which of the views they may read, or of the resources of another kind.

        Raises:
            HttpProblem: it cannot be found out now (503).
        """
        ...

    def may_push(self, caller: Caller, pipeline: str) -> bool:
        """Whether they may push rows to a pipeline.

        Raises:
            HttpProblem: it cannot be found out now (503).
        """
        ...


class Anonymous:
    """Everybody may read everything, and push if the server takes rows at all."""

    asks = waits = False

    def caller(self, token: str) -> Caller:
        return ANYBODY

    def readable(self, caller: Caller, names: Collection[str], plural: str = VIEWS) -> set[str]:
        return set(names)

    def may_push(self, caller: Caller, pipeline: str) -> bool:
        return True


def bearer_token(headers: Mapping[bytes, bytes]) -> str:
    """The token of a request.

    >>> bearer_token({b"authorization": b"Bearer abc"})
    'abc'

    Raises:
        HttpProblem: there is none (401).
    """
    scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise HttpProblem(
            HTTPStatus.UNAUTHORIZED, "a token is needed", hint="Send it as `Authorization: Bearer TOKEN`"
        )
    return token.strip()


def refused(detail: str = "the token is not valid") -> HttpProblem:
    """What nobody's token gets."""
    return HttpProblem(HTTPStatus.UNAUTHORIZED, detail)
