"""Who may ask the API server whose a token is: the ServiceAccounts of feature servers, as subjects of one ClusterRoleBinding.

It is installed with the operator, which may change this one and no other: what its subjects may do is in a ClusterRole
that the operator cannot change. https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
"""

from __future__ import annotations

from typing import Any

from featurestore.errors import Conflict, NotFound
from featurestore_operator.informer.cache import Cache
from featurestore_operator.kube.api import Api, Forbidden
from featurestore_operator.kube.api_resources import CLUSTER_ROLE_BINDING

BINDING = "featurestore-server"


_ATTEMPTS = 5


class TokenReviewers:
    """``everywhere``: the operator serves all namespaces; one of some may write nothing that is in none."""

    def __init__(self, api: Api, cache: Cache, *, everywhere: bool) -> None:
        self._api, self._cache, self._everywhere = api, cache, everywhere

    def set(self, namespace: str, account: str | None) -> bool:
        """Whether the account, and no other one of the namespace, may ask now; None: none may.

        False if that is not the operator's to say: it may not write the binding, or there is none.

        Raises:
            Conflict: other writers were first, again and again.
            TransientError: the API server did not answer.
        """
        if not self._everywhere:
            return False
        try:
            for attempt in range(_ATTEMPTS):
                try:
                    self._set(namespace, account)
                    break
                except Conflict:
                    if attempt == _ATTEMPTS - 1:
                        raise
        except (NotFound, Forbidden):
            return False
        return True

    def _set(self, namespace: str, account: str | None) -> None:
        binding = self._api.get(CLUSTER_ROLE_BINDING, "", BINDING)
        subjects = binding.get("subjects") or []
        wanted = [subject for subject in subjects if self._stays(subject, namespace, account)]
        if account is not None and not any(_is(subject, namespace, account) for subject in wanted):
            wanted.append({"kind": "ServiceAccount", "namespace": namespace, "name": account})
        if wanted != subjects:
            # With the version: what is added for another namespace meanwhile is not lost.
            version = {"resourceVersion": binding["metadata"]["resourceVersion"]}
            self._api.patch(CLUSTER_ROLE_BINDING, "", BINDING, {"metadata": version, "subjects": wanted})

    def _stays(self, subject: dict[str, Any], namespace: str, account: str | None) -> bool:
        """Whether a subject is wanted still; those whose store went while nobody looked are not."""
        if subject.get("kind") != "ServiceAccount":
            return False
        theirs = subject.get("namespace", "")
        if theirs == namespace:
            return account is not None and _is(subject, namespace, account)
        return bool(self._cache.names("FeatureStore", theirs))


def _is(subject: dict[str, Any], namespace: str, account: str) -> bool:
    return (subject.get("namespace"), subject.get("name")) == (namespace, account)
