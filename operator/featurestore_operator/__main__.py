"""``featurestore-operator``: see ``settings.py`` for its options and ``process.py`` for its parts."""

from __future__ import annotations

import os
import sys

from featurestore.timestamps import current_us
from featurestore_operator.controllers.controller import Controller
from featurestore_operator.controllers.notification_inbox import NotificationInbox
from featurestore_operator.informer.cache import Cache
from featurestore_operator.kube.api import Api
from featurestore_operator.metrics import Metrics
from featurestore_operator.process import run
from featurestore_operator.settings import Settings, parse
from featurestore_operator.webhook.webhook import Answer
from featurestore_operator.workqueue.work import Handler


def main() -> int:
    """Run the operator; the exit code."""
    return run(parse(sys.argv[1:], os.environ), _build)


def _build(
    cache: Cache, api: Api, settings: Settings, metrics: Metrics
) -> tuple[Handler, Answer, NotificationInbox]:
    controller = Controller(cache, api, settings, metrics, current_us)
    return controller, controller.review, controller.inbox


if __name__ == "__main__":
    sys.exit(main())
