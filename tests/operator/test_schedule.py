"""The queue, on a virtual clock."""

from __future__ import annotations

from featurestore_operator.kube.object_key import Key
from featurestore_operator.workqueue.schedule import Schedule


def key(name: str, namespace: str = "a") -> Key:
    return Key("FeatureView", namespace, name)


def drained(schedule: Schedule, now_s: float) -> list[str]:
    """What is handed out to workers that are done at once."""
    names = []
    while (it := schedule.take(now_s)) is not None:
        schedule.done(it)
        names.append(it.name)
    return names


def test_a_key_that_is_added_many_times_is_handled_once() -> None:
    schedule = Schedule(8)
    for _ in range(3):
        schedule.add(key("x"), 0)
    assert drained(schedule, 0) == ["x"]


def test_keys_are_handled_in_the_order_they_came() -> None:
    schedule = Schedule(8)
    for name in "cab":
        schedule.add(key(name), 0)
    assert drained(schedule, 0) == ["c", "a", "b"]


def test_a_key_is_not_under_way_twice_and_is_handled_again_if_it_was_added_meanwhile() -> None:
    schedule = Schedule(8)
    schedule.add(key("x"), 0)
    assert schedule.take(0) == key("x")
    schedule.add(key("x"), 0)
    schedule.add(key("x"), 0)
    assert schedule.take(0) is None
    schedule.done(key("x"))
    assert drained(schedule, 0) == ["x"]


def test_a_key_waits_for_its_time_and_the_earliest_of_several_counts() -> None:
    schedule = Schedule(8)
    schedule.add(key("x"), 30)
    schedule.add(key("x"), 10)
    schedule.add(key("x"), 20)
    assert schedule.next_s() == 10
    assert drained(schedule, 9.9) == []
    assert drained(schedule, 10) == ["x"]
    assert schedule.next_s() is None
    assert drained(schedule, 99) == []


def test_a_key_that_becomes_due_while_it_is_under_way_is_handled_afterwards() -> None:
    schedule = Schedule(8)
    schedule.add(key("x"), 0)
    schedule.take(0)
    schedule.add(key("x"), 5)
    assert schedule.take(6) is None
    schedule.done(key("x"))
    assert drained(schedule, 6) == ["x"]


def test_a_key_that_fails_is_tried_again_exponentially_later_until_it_succeeds() -> None:
    schedule = Schedule(8)
    assert [schedule.failed(key("x"), 0) for _ in range(12)][:4] == [1, 2, 4, 8]
    assert schedule.failed(key("x"), 0) == 45
    schedule.succeeded(key("x"))
    assert schedule.failed(key("x"), 0) == 1


def test_a_server_that_asks_to_wait_is_obeyed() -> None:
    schedule = Schedule(8)
    assert schedule.failed(key("x"), 100, at_least_s=7) == 7
    assert schedule.next_s() == 107


def test_an_event_wakes_a_key_that_backs_off() -> None:
    schedule = Schedule(8)
    schedule.failed(key("x"), 0, at_least_s=60)
    schedule.add(key("x"), 1)
    assert drained(schedule, 1) == ["x"]


def test_a_namespace_whose_keys_hang_leaves_workers_to_others() -> None:
    schedule = Schedule(8)
    for number in range(100):
        schedule.add(key(str(number), "slow"), 0)
        schedule.add(key(str(number), "slow too"), 0)
    hanging = []
    while (it := schedule.take(0)) is not None:
        hanging.append(it.namespace)
    assert len(hanging) < 8
    schedule.add(key("x", "quick"), 0)
    assert schedule.take(0) == key("x", "quick")


def test_namespaces_take_turns() -> None:
    schedule = Schedule(8)
    for number in range(3):
        schedule.add(key(f"a{number}", "a"), 0)
    schedule.add(key("b0", "b"), 0)
    assert drained(schedule, 0) == ["a0", "b0", "a1", "a2"]


def test_one_worker_is_enough() -> None:
    schedule = Schedule(1)
    schedule.add(key("x"), 0)
    assert drained(schedule, 0) == ["x"]
