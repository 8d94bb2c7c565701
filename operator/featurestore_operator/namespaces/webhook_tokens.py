"""The tokens that senders of notifications must show, from the Secrets of their pipelines' namespaces."""

from __future__ import annotations

from collections.abc import Callable

from featurestore.arrivals.notifications.receiver import SHORTEST_TOKEN
from featurestore.errors import NotFound
from featurestore.resources.data_pipeline import DataPipelineSpec
from featurestore.resources.metadata import SecretRef
from featurestore.resources.notifications import TOKEN_KEY
from featurestore_operator.namespaces.open_store import SECRET_US, Stores


def token_secret(pipeline: str, spec: DataPipelineSpec) -> str | None:
    """The Secret with the token of a pipeline's notifications; None if none are posted to it.

    >>> from featurestore.resources.data_pipeline import Source
    >>> from featurestore.resources.trigger import Trigger
    >>> from featurestore.resources.notifications import Notifications, WebhookNotifications
    >>> source = Source(uri="s3://raw/*.csv", format="CSV")
    >>> hinted = Trigger(notifications=Notifications(webhook=WebhookNotifications()))
    >>> token_secret("flights", DataPipelineSpec(source=source, trigger=hinted))
    'flights-webhook'
    """
    if spec.trigger.notifications is None or spec.trigger.notifications.webhook is None:
        return None
    ref = spec.trigger.notifications.webhook.secret_ref
    return ref.name if ref is not None else f"{pipeline}-webhook"


class WebhookTokens:
    """Reads a Secret at most each ten seconds, whoever asks how often. Safe to use from several threads."""

    def __init__(self, stores: Stores, clock: Callable[[], int]) -> None:
        self._stores, self._clock = stores, clock
        self._kept: dict[tuple[str, str], tuple[int, str | None]] = {}

    def token(self, namespace: str, secret: str) -> str | None:
        """The token in a Secret; None if there is none that may be used.

        Raises:
            TransientError: the API server did not answer.
        """
        now_us = self._clock()
        read_us, token = self._kept.get((namespace, secret), (-SECRET_US, None))
        if now_us - read_us < SECRET_US:
            return token
        token = self._read(namespace, secret)
        kept = self._kept.copy()
        for key in [key for key, (then_us, _) in kept.items() if now_us - then_us >= SECRET_US]:
            self._kept.pop(key, None)
        self._kept[namespace, secret] = (now_us, token)
        return token

    def _read(self, namespace: str, secret: str) -> str | None:
        try:
            credentials = self._stores.credentials(namespace, SecretRef(name=secret)) or {}
        except (NotFound, UnicodeDecodeError):
            return None
        token = credentials.get(TOKEN_KEY, "").strip()
        return token if len(token) >= SHORTEST_TOKEN else None
