"""Workers: what they do about errors, holding and stopping."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from queue import SimpleQueue

import pytest

from featurestore.errors import Busy, StorageError
from featurestore_operator.kube.object_key import Key
from featurestore_operator.workqueue.work import Work

X = Key("FeatureView", "a", "x")
Y = Key("FeatureView", "b", "y")
SOON_S = 60.0


class Handler:
    """Does what it is told, and hands over what it was given."""

    def __init__(self, act: Callable[[Key], float | None]) -> None:
        self.handled: SimpleQueue[Key] = SimpleQueue()
        self._act = act

    def handle(self, key: Key) -> float | None:
        self.handled.put(key)
        return self._act(key)

    def nothing_more(self) -> bool:
        with pytest.raises(queue.Empty):
            self.handled.get(timeout=0.05)
        return True


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Ledger:
    """What the observer was told."""

    def __init__(self) -> None:
        self.told: SimpleQueue[tuple[Key, str]] = SimpleQueue()

    def handled(self, key: Key, seconds: float, error: BaseException | None) -> None:
        self.told.put((key, type(error).__name__))


def raising(error: Exception) -> Callable[[Key], float | None]:
    def act(_: Key) -> float | None:
        raise error

    return act


def test_a_handler_says_when_to_look_again() -> None:
    clock, ledger = Clock(), Ledger()
    work = Work(2, ledger, clock)
    handler = Handler(lambda _: 60.0)
    work.start(handler)
    work.add(X)
    assert ledger.told.get(timeout=SOON_S) == (X, "NoneType")
    assert handler.handled.get(timeout=SOON_S) == X
    clock.now_s = 59
    work.add(Y)  # Wakes the workers, who look at the clock.
    assert handler.handled.get(timeout=SOON_S) == Y
    assert handler.nothing_more()
    clock.now_s = 61
    work.add(Y)
    assert {handler.handled.get(timeout=SOON_S), handler.handled.get(timeout=SOON_S)} == {X, Y}
    assert work.stop(SOON_S)


@pytest.mark.parametrize(
    ("error", "name"),
    [(StorageError("away"), "StorageError"), (ZeroDivisionError(), "ZeroDivisionError")],
    ids=["the outside world", "a defect"],
)
def test_an_error_ends_no_worker_and_is_tried_again(error: Exception, name: str) -> None:
    clock, ledger = Clock(), Ledger()
    work = Work(1, ledger, clock)
    handler = Handler(raising(error))
    work.start(handler)
    work.add(X)
    assert ledger.told.get(timeout=SOON_S) == (X, name)
    clock.now_s = 1.0
    work.add(Y)
    assert {ledger.told.get(timeout=SOON_S), ledger.told.get(timeout=SOON_S)} == {(X, name), (Y, name)}
    assert work.stop(SOON_S)


def test_a_server_that_asks_to_wait_is_left_alone_for_so_long() -> None:
    clock, ledger = Clock(), Ledger()
    work = Work(1, ledger, clock)
    handler = Handler(raising(Busy("later", retry_after_s=30)))
    work.start(handler)
    work.add(X)
    assert ledger.told.get(timeout=SOON_S) == (X, "Busy")
    assert handler.handled.get(timeout=SOON_S) == X
    clock.now_s = 29
    work.add(Y)
    assert handler.handled.get(timeout=SOON_S) == Y
    assert handler.nothing_more()
    assert work.stop(SOON_S)


def test_held_work_comes_together_and_is_handed_out_at_once_on_release() -> None:
    work = Work(2, Ledger(), held=True)
    handler = Handler(lambda _: None)
    work.start(handler)
    for key in (X, Y, X):
        work.add(key)
    assert handler.nothing_more()
    work.release()
    assert {handler.handled.get(timeout=SOON_S), handler.handled.get(timeout=SOON_S)} == {X, Y}
    work.hold()
    work.add(X)
    assert handler.nothing_more()
    assert work.stop(SOON_S)


def test_stopping_waits_for_what_is_under_way_and_says_whether_it_ended() -> None:
    let_go = threading.Event()

    def hang(_: Key) -> None:
        let_go.wait(SOON_S)

    work = Work(1, Ledger())
    handler = Handler(hang)
    work.start(handler)
    work.add(X)
    assert handler.handled.get(timeout=SOON_S) == X
    assert work.depth() == {"ready": 0, "waiting": 0, "under_way": 1}
    assert not work.stop(0.05)
    let_go.set()
    assert work.stop(SOON_S)


def test_a_hanging_storage_does_not_starve_another_namespace() -> None:
    let_go = threading.Event()

    def hang(key: Key) -> None:
        if key.namespace == "slow":
            let_go.wait(SOON_S)

    work = Work(4, Ledger())
    handler = Handler(hang)
    work.start(handler)
    for number in range(50):
        work.add(Key("FeatureView", "slow", str(number)))
    work.add(Y)
    seen = {handler.handled.get(timeout=SOON_S) for _ in range(3)}
    assert Y in seen
    let_go.set()
    assert work.stop(SOON_S)
