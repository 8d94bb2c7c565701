"""Callers whom an OpenID Connect issuer knows: tokens that it signed (JWT), for this server, and not expired.

What is checked: RFC 7519 and https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation.
"""

from __future__ import annotations

from collections.abc import Collection
from http import HTTPStatus
from typing import Any, Protocol

from joserfc import jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jws import JWSRegistry

from featurestore.server.caller import VIEWS, Caller, refused
from featurestore.server.issuer_keys import IssuerKeys, PublicKey
from featurestore.server.problem_details import HttpProblem

_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""Only those whose keys may be public: with HMAC, who knows the issuer's public key could sign."""
_LEEWAY_S = 30


class OpenIdConnect:
    """Whoever has a valid token may read everything; if ``groups`` are named, whoever is in one of them.

    ``claim``: where a token has the groups of its caller.
    """

    asks = waits = True

    def __init__(
        self, keys: IssuerKeys, issuer: str, audience: str, claim: str, groups: Collection[str] = ()
    ) -> None:
        self._keys, self._claim, self._groups = keys, claim, frozenset(groups)
        # Headers that we do not know mean nothing, unless they say that they must be understood (`crit`).
        self._registry = JWSRegistry(algorithms=_ALGORITHMS, strict_check_header=False)
        self._claims = jwt.JWTClaimsRegistry(
            leeway=_LEEWAY_S,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
            sub={"essential": True},
            exp={"essential": True},
        )

    def caller(self, token: str) -> Caller:
        try:
            claims = jwt.decode(token, self._key, registry=self._registry).claims
        except (JoseError, ValueError, TypeError) as error:
            raise refused() from error
        try:
            self._claims.validate(claims)
        except ExpiredTokenError as error:
            raise refused("the token has expired") from error
        except (JoseError, ValueError, TypeError) as error:
            raise refused("the token is for another server, or not for now") from error
        return self._admitted(claims)

    def readable(self, caller: Caller, names: Collection[str], plural: str = VIEWS) -> set[str]:
        return set(names)

    def may_push(self, caller: Caller, pipeline: str) -> bool:
        return False  # A token that reads must not write, and nothing says yet which one may.

    def _key(self, signed: _Signed) -> PublicKey:
        """What must have signed it. So far the header is the word of whoever sent it."""
        header = signed.headers()
        if header.get("alg") not in _ALGORITHMS:
            raise ValueError("this algorithm is not taken")
        key = self._keys.key(header.get("kid"))
        if key is None:
            raise ValueError("there is no such key")
        return key

    def _admitted(self, claims: dict[str, Any]) -> Caller:
        name, claimed = claims["sub"], claims.get(self._claim)
        if not isinstance(name, str):
            raise refused()
        listed = [claimed] if isinstance(claimed, str) else claimed if isinstance(claimed, list) else []
        groups = tuple(group for group in listed if isinstance(group, str))
        if self._groups and self._groups.isdisjoint(groups):
            raise HttpProblem(HTTPStatus.FORBIDDEN, f"{name!r} is in no group that may read")
        return Caller(name, groups)


class _Signed(Protocol):
    def headers(self) -> dict[str, Any]: ...
