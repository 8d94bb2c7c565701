"""What a namespace may use that is not its own: the union of the FeatureStorePolicies that are about it.

Without one: object storage of which it has the keys in a Secret, the default ServiceAccount of Jobs, any image. The
operator would otherwise reach for whoever may write a resource what only the operator may reach.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from featurestore.errors import FeatureStoreError, NotFound, SpecError
from featurestore.resources.feature_store_policy import (
    FeatureStorePolicy,
    FeatureStorePolicySpec,
    ProjectedTokens,
)
from featurestore.resources.pod_template import PodTemplate
from featurestore.storage.credentials import in_object_storage
from featurestore.timestamps import SECOND_US
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.api_resources import FEATURE_STORE_POLICY, NAMESPACE
from featurestore_operator.kube.parse import parse
from featurestore_operator.settings import Settings

logger = logging.getLogger(__name__)

_KEPT_US = 10 * SECOND_US
"""How long it takes until a policy that was changed is known: policies are not watched."""
_ALIASES = {"s3a": "s3", "gcs": "gs"}
_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
_IDENTITIES = ("serviceAccountToken", "podCertificate")
"""Sources of a projected volume by which a pod is somebody to others."""
_HINT = "The cluster's administrator allows it by a FeatureStorePolicy: {}"


class NotAllowed(SpecError):
    """The namespace uses what no policy lets it use."""


@dataclass(frozen=True, slots=True)
class Permissions:
    """Of one namespace. ``trusted``: it may use everything."""

    namespace: str
    policies: tuple[FeatureStorePolicySpec, ...] = ()
    trusted: bool = False

    @property
    def most_jobs(self) -> int | None:
        """How many Jobs it may have at once; None if no policy says so."""
        return max((one.max_jobs for one in self.policies if one.max_jobs is not None), default=None)

    def check_uri(self, uri: str, where: str, *, secret: bool) -> None:
        """Refuse a URI that would be opened with the operator's identity, and that is not allowed.

        ``secret``: whether the namespace has credentials of its own for it; only object storage is opened with those.

        Raises:
            NotAllowed: with what would allow it.
        """
        if self.trusted or (secret and in_object_storage(uri)):
            return
        prefixes = {
            prefix.replace("{namespace}", self.namespace)
            for one in self.policies
            for prefix in one.uri_prefixes
        }
        if any(lies_below(uri, prefix) for prefix in prefixes):
            return
        if prefixes:
            secret_too = "a secretRef, or " if in_object_storage(uri) else ""
            wanted = f"{secret_too}a URI that a policy allows ({', '.join(sorted(prefixes))})"
        else:
            wanted = (
                "a secretRef"
                if in_object_storage(uri)
                else "object storage with a secretRef, or a URI that a policy allows"
            )
        raise NotAllowed(
            f"namespace {self.namespace!r} may not have this opened with the operator's identity",
            where=where,
            wanted=wanted,
            got=repr(uri),
            hint=_HINT.format("uriPrefixes"),
        )

    def check_replicas(self, asked: int, where: str) -> None:
        """Refuse more replicas of a feature server than a policy allows.

        Raises:
            NotAllowed: with what would allow it.
        """
        most = max((one.max_replicas for one in self.policies if one.max_replicas is not None), default=None)
        if most is not None and asked > most and not self.trusted:
            raise NotAllowed(
                f"a feature server of namespace {self.namespace!r} may not have so many replicas",
                where=where,
                wanted=f"at most {most}",
                got=str(asked),
                hint=_HINT.format("maxReplicas"),
            )

    def check_template(self, template: PodTemplate, where: str, *, mounts_token: bool = False) -> None:
        """Refuse a template whose pods would be, or run, what is not allowed.

        ``mounts_token``: of their ServiceAccount. One that the template names may do more than what it is mounted for.

        Raises:
            NotAllowed: with what would allow it.
        """
        if self.trusted:
            return
        accounts = {account for one in self.policies for account in one.service_account_names}
        account = template.service_account_name
        if account is not None and account not in accounts:
            raise NotAllowed(
                f"a pod of namespace {self.namespace!r} may not run as this ServiceAccount",
                where=f"{where}.serviceAccountName",
                wanted=f"one of {', '.join(sorted(accounts))}" if accounts else "none: the operator's choice",
                got=repr(account),
                hint=_HINT.format("serviceAccountNames"),
            )
        tokens = any(one.projected_tokens is ProjectedTokens.ALLOWED for one in self.policies)
        if account is not None and mounts_token and not tokens:
            raise self._no_token(
                f"{where}.serviceAccountName", "none: one that may do nothing else", repr(account)
            )
        for n, volume in enumerate(template.volumes):
            if not tokens and _holds_token(volume.model_dump(mode="json", by_alias=True)):
                wanted = f"sources other than {' and '.join(_IDENTITIES)}"
                raise self._no_token(f"{where}.volumes[{n}].projected", wanted, "a token")
        if template.image is not None:
            self.check_image(template.image, f"{where}.image")

    def check_image(self, image: str, where: str) -> None:
        """Refuse an image that a pod of the namespace may not run.

        Raises:
            NotAllowed: with what would allow it.
        """
        images = {prefix for one in self.policies for prefix in one.image_prefixes}
        if images and not any(map(image.startswith, images)) and not self.trusted:
            raise NotAllowed(
                f"a pod of namespace {self.namespace!r} may not run this image",
                where=where,
                wanted=f"an image that begins with {' or '.join(sorted(images))}",
                got=repr(image),
                hint=_HINT.format("imagePrefixes"),
            )

    def _no_token(self, where: str, wanted: str, got: str) -> NotAllowed:
        return NotAllowed(
            f"a pod of namespace {self.namespace!r} may not hold a token of its ServiceAccount",
            where=where,
            wanted=wanted,
            got=got,
            hint=_HINT.format("projectedTokens: Allowed"),
        )


def lies_below(uri: str, prefix: str) -> bool:
    """Whether a URI or pattern names nothing outside of a prefix. Names are compared whole, ``..`` is nowhere below.

    >>> lies_below("s3://features/a/x", "s3://features/a/"), lies_below("s3://features/ab", "s3://features/a")
    (True, False)
    >>> lies_below("s3://features/a/../b", "s3://features/a/"), lies_below("/data/x", "/data/")
    (False, True)
    >>> lies_below("kafka://broker:9092", "kafka://broker:9092/"), lies_below("kafka://broker:90", "kafka://broker:9/")
    (True, False)
    >>> lies_below("s3a://features/a", "s3://features/a/"), lies_below("https://a.org@b.org/x", "https://a.org/")
    (True, False)
    """
    below, above = _segments(uri), _segments(prefix)
    return below is not None and above is not None and below[: len(above)] == above


def _segments(uri: str) -> list[str] | None:
    """Scheme, host and names of a URI; None if they may mean another place than they say."""
    match = _SCHEME.match(uri)
    if not match and not uri.startswith("/"):
        return None
    scheme, rest = (match[1].lower(), uri[match.end() :]) if match else ("", uri[1:])
    names = rest.rstrip("/").split("/") if rest else []
    # Codes, queries and backslashes mean one thing here and another elsewhere; most servers take "" for no name at all.
    if any(name in ("", ".", "..") for name in names) or re.search(r"[\\#%]", rest) or (match and not names):
        return None
    return [_ALIASES.get(scheme, scheme), *names]


def _holds_token(volume: Mapping[str, Any]) -> bool:
    """Whether a volume holds a token, or a certificate, that speaks for the pod's ServiceAccount.

    >>> _holds_token({"projected": {"sources": [{"configMap": {}}, {"podCertificate": {}}]}})
    True
    """
    projected = volume.get("projected") or {}
    sources = projected.get("sources") if isinstance(projected, Mapping) else None
    return any(
        name in source for source in sources or () if isinstance(source, Mapping) for name in _IDENTITIES
    )


class Policies:
    """Knows the permissions of each namespace. Safe to use from several threads. ``clock``: UTC microseconds now."""

    def __init__(self, api: Api, settings: Settings, clock: Callable[[], int]) -> None:
        self._api, self._trusted, self._clock = api, settings.trust_namespaces, clock
        # An operator of some namespaces may read nothing that is in none.
        self._reads = not settings.namespaces
        self._lock = threading.Lock()
        self._read_us: int | None = None
        self._asked_us = 0
        self._policies: tuple[FeatureStorePolicySpec, ...] = ()
        self._labels: dict[str, Mapping[str, str]] = {}

    def of(self, namespace: str) -> Permissions:
        """What a namespace may use.

        Raises:
            TransientError: the API server did not answer.
        """
        if self._trusted:
            return Permissions(namespace, trusted=True)
        if not self._reads:
            return Permissions(namespace)
        with self._lock:
            now_us = self._clock()
            if self._read_us is None or not 0 <= now_us - self._read_us < _KEPT_US:
                self._refresh(now_us)
            return self._concerned(namespace)

    def are_current(self, permissions: Permissions) -> bool:
        """Whether they are what the namespace may use still, as far as is known.

        The API server is asked once in ten seconds, for all namespaces, whether it answers or not.
        """
        if self._trusted or not self._reads:
            return True
        with self._lock:
            now_us = self._clock()
            try:
                if not 0 <= now_us - self._asked_us < _KEPT_US:
                    self._refresh(now_us)
                return self._concerned(permissions.namespace) == permissions
            except FeatureStoreError:
                return True

    def _refresh(self, now_us: int) -> None:
        self._asked_us = now_us
        self._policies, self._labels = self._read(), {}
        self._read_us = now_us

    def _concerned(self, namespace: str) -> Permissions:
        return Permissions(
            namespace, tuple(policy for policy in self._policies if self._concerns(policy, namespace))
        )

    def _read(self) -> tuple[FeatureStorePolicySpec, ...]:
        try:
            objects = self._api.list(FEATURE_STORE_POLICY, None)
        except NotFound:
            # The kind is not defined yet: an operator may be newer than the definitions.
            return ()
        policies = []
        for policy in objects:
            try:
                policies.append(parse(FeatureStorePolicy, policy).spec)
            except SpecError as error:
                logger.warning("a FeatureStorePolicy allows nothing, as it cannot be read: %s", error)
        return tuple(policies)

    def _concerns(self, policy: FeatureStorePolicySpec, namespace: str) -> bool:
        chosen = policy.namespaces
        if chosen.match_labels:
            return chosen.match_labels.items() <= self._labels_of(namespace).items()
        return not chosen.names or namespace in chosen.names

    def _labels_of(self, namespace: str) -> Mapping[str, str]:
        if namespace not in self._labels:
            document = self._api.get(NAMESPACE, "", namespace)
            self._labels[namespace] = document["metadata"].get("labels") or {}
        return self._labels[namespace]
