"""How callers say who they are. Light: the command line's help lists these."""

from __future__ import annotations

from enum import StrEnum


class Authentication(StrEnum):
    """See docs/serving.md."""

    NONE = "none"
    TOKEN = "token"
    KUBERNETES = "kubernetes"
    OIDC = "oidc"
