"""The operator's process: its parts put together, from start to SIGTERM.

API server ─watch─► informer ─► cache ─wakes─► work ─key─► handler ─► api ─► API server
                                                ▲
                                              lease
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from featurestore.arrivals.notifications.receiver import Receiver
from featurestore.errors import FeatureStoreError
from featurestore_operator import log
from featurestore_operator.controllers.notification_inbox import NotificationInbox
from featurestore_operator.endpoint import Endpoint
from featurestore_operator.informer.cache import Cache
from featurestore_operator.informer.informer import Informer
from featurestore_operator.kube import access
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.lease import Lease
from featurestore_operator.kube.token_access import TokenAccess
from featurestore_operator.metrics import Metrics
from featurestore_operator.settings import Settings
from featurestore_operator.webhook.webhook import Answer, Webhook
from featurestore_operator.workqueue.work import Handler, Work

logger = logging.getLogger(__name__)

WATCHES_S = 1.0
SYNCED_S, LONG_S = 0.02, 60.0
_TO_END = {signal.SIGTERM, signal.SIGINT}

Build = Callable[[Cache, Api, Settings, Metrics], tuple[Handler, Answer | None, NotificationInbox | None]]
"""What handles keys, what answers reviews, and what takes notifications; None if nothing does."""


class Process:
    """An operator that is not started yet.

    Raises:
        SpecError: there is no way to an API server.
    """

    def __init__(self, settings: Settings, build: Build) -> None:
        self._settings = settings
        self._metrics = Metrics()
        configuration = access.configuration(settings.kubeconfig)
        self.api = Api(configuration, self._metrics, connections=settings.workers + 4)
        # Nothing is handed out before all is known: what is absent until then may well exist.
        self.work = Work(settings.workers, self._metrics, held=True)
        self.cache = Cache(self.work.add)
        namespaces: Sequence[str | None] = settings.namespaces or [None]
        self._informer = Informer(configuration, self.api, self.cache, namespaces, settings.resync_s)
        self._lease = self._elected() if settings.leader_elect else None
        self._handler, answer, inbox = build(self.cache, self.api, settings, self._metrics)
        self._webhook = self._reviewing(answer, settings)
        self._metrics.read(self.cache, self.work.depth, self._leads)
        self._receiver = self._receiving(inbox, settings)
        guard = TokenAccess(self.api, "/metrics").check if settings.metrics_access == "token" else None
        self._endpoint = Endpoint(
            settings.port, self._unhealthy, self._unready, self._metrics.registry, guard
        )

    @property
    def port(self) -> int:
        """Of probes and metrics."""
        return self._endpoint.port

    def run(self, ended: Callable[[float], bool]) -> None:
        """Work until ``ended``, which waits for so many seconds at most, says that it is time."""
        # Before anybody can ask whether it is alive.
        self._informer.start()
        self._endpoint.start()
        if self._webhook is not None:
            # By those that do not lead as well: the API server asks any of them.
            self._webhook.start()
        self.work.start(self._handler)
        time_to_end = False
        while not (time_to_end or self.cache.synced):
            time_to_end = ended(SYNCED_S)
        if not time_to_end:
            if self._receiver is not None:
                self._receiver.start()
            if self._lease is None:
                self.work.release()
            else:
                self._lease.start()
        while not time_to_end:
            time_to_end = ended(LONG_S)
        self._end()

    def _end(self) -> None:
        if self._receiver is not None:
            self._receiver.stop()
        ended = self.work.stop(self._settings.grace_s * 0.6)
        if not ended:
            logger.warning("some work is under way still; it is done again at the next start")
        if self._lease is not None:
            self._lease.stop(hand_over=ended)
        # Kopf takes its time, and there is nothing to lose: it only reads.
        self._informer.stop(WATCHES_S)
        self._endpoint.stop()
        self.api.close()

    def _elected(self) -> Lease:
        settings = self._settings
        namespace = settings.lease_namespace or access.own_namespace(default="default")
        return Lease(
            self.api,
            namespace,
            settings.lease_name,
            settings.identity,
            self.work.release,
            self.work.hold,
            settings.lease_s,
        )

    def _reviewing(self, answer: Answer | None, settings: Settings) -> Webhook | None:
        if answer is None or settings.webhook_port is None:
            return None
        # Cryptography is 9 MiB that only those need who serve a webhook.
        from featurestore_operator.webhook.certificate import keep

        namespace = settings.lease_namespace or access.own_namespace(default="default")
        return Webhook(settings.webhook_port, answer, lambda: keep(self.api, namespace, datetime.now(UTC)))

    def _receiving(self, inbox: NotificationInbox | None, settings: Settings) -> Receiver | None:
        if inbox is None or settings.notification_port is None:
            return None
        inbox.leads = self._leads
        return Receiver("", settings.notification_port, inbox)

    def _leads(self) -> bool:
        return self._lease is None or self._lease.leads

    def _unhealthy(self) -> str | None:
        return None if self._informer.alive else "the watches have ended"

    def _unready(self) -> str | None:
        return self._unhealthy() or (None if self.cache.synced else "the first listing is not complete")


def run(settings: Settings, build: Build) -> int:
    """Run an operator until SIGTERM or SIGINT; returns the exit code."""
    log.configure(settings.log_format, settings.log_level)
    # Waited for, and not handled: Python runs no handler for a signal that comes just before its main thread waits.
    # Threads that start later inherit that it is blocked.
    signal.pthread_sigmask(signal.SIG_BLOCK, _TO_END)
    try:
        process = Process(settings, build)
    except FeatureStoreError as error:
        logger.error("%s", error)
        return error.exit_code
    logger.info("starts as %s, probes and metrics on port %d", settings.identity, process.port)
    process.run(lambda seconds: signal.sigtimedwait(_TO_END, seconds) is not None)
    # What kopf has not closed by now is closed with the process. Asyncio would call that an error, after the last word.
    logging.getLogger("asyncio").disabled = True
    logger.info("has ended")
    return 0
