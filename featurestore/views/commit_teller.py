"""Tells a sink of commits, from a thread of its own: at least once each, whatever is killed, and nothing waits for it.

What was told of a build is kept beside it, after it was told. So whoever looks at the view next, in any process, tells what
is missing.
"""

from __future__ import annotations

import json
import logging
import threading
import urllib.request
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from featurestore.errors import TransientError, foreseen
from featurestore.failpoint import hit
from featurestore.failure import as_failure
from featurestore.resources.events import CommitEvents
from featurestore.resources.model import Model
from featurestore.retry import FailureStreak
from featurestore.storage import paths
from featurestore.storage.json_record import read_record
from featurestore.storage.objects import Storage
from featurestore.timestamps import SECOND_US, current_us
from featurestore.views.builds import BuildResult
from featurestore.views.commit_event import commit_events

TOKEN = "FEATURESTORE_EVENTS_TOKEN"
KNATIVE = "K_SINK"
"""How Knative's SinkBinding says where events go: https://knative.dev/docs/eventing/custom-event-source/sinkbinding/"""
SECRET_KEY = "token"
_TIMEOUT_S = 5.0
_FIRST = 100
"""So many commits of a build are told at most that was never told of: a sink may be new to a view that is old."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sink:
    """``token``: a bearer token; "" for none."""

    url: str
    token: str = ""


def sink_of(events: CommitEvents | None, environ: Mapping[str, str], token: str | None = None) -> Sink | None:
    """Where events go, by the spec or else as Knative says; None if nobody wants any. ``token``: else the environment's."""
    if events is not None:
        return Sink(events.sink.url, environ.get(TOKEN, "") if token is None else token)
    return Sink(environ[KNATIVE]) if environ.get(KNATIVE) else None


@dataclass(frozen=True, slots=True)
class EventDelivery:
    """``failure``: why the sink was not told last; None while nothing fails."""

    url: str
    failure: FailureStreak | None = None


class ToldCommits(Model):
    """``version``: the newest of the build's table that the sink was told of."""

    version: int


@dataclass(frozen=True, slots=True)
class _Untold:
    storage: Storage
    sink: Sink
    view: str
    digest: str
    version: int
    scope: str

    @property
    def key(self) -> _Key:
        return self.storage.root, self.view, self.digest


_Key = tuple[str, str, str]
"""Storage root, view and digest of a build."""


class CommitTeller:
    """Safe to use from several threads. ``changed``: told a scope and a view once telling of it fails, or does so no more."""

    def __init__(self, changed: Callable[[str, str], None] = lambda scope, view: None) -> None:
        self._changed = changed
        self._lock = threading.Condition()
        self._untold: dict[_Key, _Untold] = {}
        self._told: dict[_Key, int] = {}
        # Of a sink that does not answer, or of what cannot be read of one build.
        self._failures: dict[Sink | _Key, FailureStreak] = {}
        self._thread: threading.Thread | None = None

    def look(
        self, storage: Storage, sink: Sink, view: str, builds: Collection[BuildResult], scope: str = ""
    ) -> EventDelivery:
        """Have the sink told of what these builds have come to; how it fares with those before."""
        with self._lock:
            for build in builds:
                key = storage.root, view, build.digest
                untold = self._untold.get(key)
                current = untold is not None and (untold.version, untold.sink) == (build.version, sink)
                if self._told.get(key) != build.version and not current:
                    self._untold[key] = _Untold(storage, sink, view, build.digest, build.version, scope)
            if self._untold and self._thread is None:
                self._thread = threading.Thread(target=self._run, name="commit events", daemon=True)
                self._thread.start()
            self._lock.notify_all()
            own = (self._untold.get((storage.root, view, build.digest)) for build in builds)
            failures = (self._failure(untold) for untold in own if untold is not None)
            return EventDelivery(sink.url, next((each for each in failures if each is not None), None))

    def forget(self, storage: Storage) -> None:
        """Tell of nothing more in this storage: nobody is to be told."""
        with self._lock:
            for key in [key for key in self._untold if key[0] == storage.root]:
                del self._untold[key]
            self._lock.notify_all()

    def flush(self, timeout_s: float) -> None:
        """Return when all is told but what fails, or after that time."""
        with self._lock:
            self._lock.wait_for(lambda: all(map(self._failure, self._untold.values())), timeout_s)

    def close(self, timeout_s: float) -> None:
        """Tell of nothing more, and return once what is being posted is answered, or after that time: whoever looks next
        tells what is missing.
        """
        with self._lock:
            self._untold.clear()
            thread = self._thread
            self._lock.notify_all()
        if thread is not None:
            thread.join(timeout_s)

    def _failure(self, untold: _Untold) -> FailureStreak | None:
        return self._failures.get(untold.sink) or self._failures.get(untold.key)

    def _run(self) -> None:
        while True:
            with self._lock:
                while True:
                    if not self._untold:
                        self._thread = None
                        return
                    waiting = {key: self._failure(untold) for key, untold in self._untold.items()}
                    due = {key: 0 if failure is None else failure.next_us for key, failure in waiting.items()}
                    first = min(due, key=due.__getitem__)
                    wait_s = (due[first] - current_us()) / SECOND_US
                    if wait_s <= 0:
                        break
                    self._lock.wait(wait_s)
                untold = self._untold[first]
            self._tell(untold)

    def _tell(self, untold: _Untold) -> None:
        before = self._failure(untold)
        try:
            tell(untold.storage, untold.sink, untold.view, untold.digest, untold.version)
        except Exception as error:  # noqa: BLE001 - what cannot be told ends nothing, and is tried again
            failure = FailureStreak.after(before, current_us(), as_failure(foreseen(error)))
            with self._lock:
                # A sink that is away is asked once for all views.
                self._failures[untold.sink if type(error) is TransientError else untold.key] = failure
                # It may be this one event that it refuses: another view's comes first next time.
                if (latest := self._untold.pop(untold.key, None)) is not None:
                    self._untold[untold.key] = latest
                self._lock.notify_all()
            if before is None:
                log.warning("commits of %s cannot be told: %s", untold.view, str(error))
                self._changed(untold.scope, untold.view)
            return
        with self._lock:
            self._told[untold.key] = untold.version
            if self._untold.get(untold.key) is untold:
                del self._untold[untold.key]
            self._failures.pop(untold.sink, None)
            self._failures.pop(untold.key, None)
            self._lock.notify_all()
        if before is not None:
            self._changed(untold.scope, untold.view)


def tell(storage: Storage, sink: Sink, view: str, digest: str, upto: int) -> None:
    """Tell the sink of each commit of the build up to this version that it was not told of.

    Raises:
        TransientError: the sink did not take it; or, a StorageError, storage did not answer.
    """
    path = paths.told_commits(view, digest)
    hint = "Delete it: the newest commits are told again"
    last = read_record(storage, path, ToldCommits, "the record of commits that were told", hint)
    after = max(-1, upto - _FIRST) if last is None or last.version > upto else last.version
    for version, event in commit_events(storage, view, digest, after, upto):
        if event is not None:
            hit("before-event")
            _post(sink, event)
            hit("after-event")
            storage.replace(path, ToldCommits(version=version).model_dump_json().encode())


def _post(sink: Sink, event: dict[str, Any]) -> None:
    headers = {"Content-Type": "application/cloudevents+json; charset=utf-8"}
    if sink.token:
        headers["Authorization"] = f"Bearer {sink.token}"
    request = urllib.request.Request(sink.url, json.dumps(event).encode(), headers, method="POST")
    try:
        with _OPENER.open(request, timeout=_TIMEOUT_S) as answer:
            answer.read(1)
    except (OSError, ValueError) as error:
        raise TransientError(
            "the sink of events does not take them", where=sink.url, wanted="2xx", got=str(error)
        ) from error


class _Stay(urllib.request.HTTPRedirectHandler):
    """A token is for the sink that the spec names alone."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_Stay)
