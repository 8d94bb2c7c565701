"""What Jobs and their pods tell: nothing else is remembered of attempts."""

from __future__ import annotations

from typing import Any

import pytest

from featurestore.failure import Failure
from featurestore.reconcile.steps import BuildView, RunBatch
from featurestore.retry import FailureStreak
from featurestore.timestamps import SECOND_US
from featurestore_operator.jobs.attempts import JobAttempt, JobAttempts, NextAttempt
from featurestore_operator.jobs.job_manifest import work_digest
from featurestore_operator.jobs.job_outcome import (
    NO_NODE_US,
    NO_START_US,
    Failed,
    Running,
    Succeeded,
    job_outcome,
)

AT_US = 1_700_000_000 * SECOND_US
AT = "2023-11-14T22:13:20Z"
BATCH = RunBatch("flights", 1, "0f")
SAID = Failure(type="CodeError", problem="no package 'mine'", retryable=False)


def job(
    work: Any = BATCH, attempt: int = 1, created: str = AT, killed: int = 0, **status: Any
) -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"flights-1-{attempt}",
            "creationTimestamp": created,
            "annotations": {
                "featurestore.dev/step": work.key,
                "featurestore.dev/work": work_digest(work),
                "featurestore.dev/attempt": str(attempt),
                "featurestore.dev/oom-kills": str(killed),
            },
        },
        "spec": {
            "activeDeadlineSeconds": 3600,
            "template": {"spec": {"containers": [{"resources": {"limits": {"memory": "1024"}}}]}},
        },
        "status": status,
    }


def ended(kind: str, reason: str = "BackoffLimitExceeded") -> dict[str, Any]:
    return {"conditions": [{"type": kind, "status": "True", "reason": reason, "lastTransitionTime": AT}]}


def pod(state: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    containers = [{"name": "job", "state": state}] if state else []
    return {"metadata": {"name": "p"}, "status": {"containerStatuses": containers, **status}}


def terminated(code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message, "finishedAt": AT}}


def records(*pairs: tuple[dict[str, Any], list[dict[str, Any]]]) -> JobAttempts:
    return JobAttempts(JobAttempt(it, job_outcome(it, pods, AT_US)) for it, pods in pairs)


def failure(it: dict[str, Any], *pods: dict[str, Any]) -> Failure:
    found = job_outcome(it, list(pods), AT_US)
    assert isinstance(found, Failed)
    return found.attempt.failure


def test_the_failure_is_the_one_that_the_process_left_behind() -> None:
    left = pod(terminated(5, message=SAID.model_dump_json()))
    assert failure(job(**ended("Failed", "PodFailurePolicy")), left) == SAID


def test_a_process_that_said_nothing_is_told_by_its_exit_code_and_last_words() -> None:
    found = failure(job(**ended("Failed")), pod(terminated(139, message="Segmentation fault")))
    assert found.retryable
    assert found.got == "exit code 139, signal SIGSEGV; its last words: Segmentation fault"


def test_a_job_whose_pod_is_gone_has_failed_all_the_same() -> None:
    assert failure(job(**ended("Failed"))).retryable


def test_a_job_that_took_too_long_names_the_setting() -> None:
    assert "spec.job.activeDeadline" in failure(job(**ended("Failed", "DeadlineExceeded"))).wanted


def test_oom_kills_in_a_row_are_counted_and_another_failure_ends_the_row() -> None:
    oom = pod(terminated(137, "OOMKilled"))
    twice = job_outcome(job(killed=1, **ended("Failed")), [oom], AT_US)
    assert isinstance(twice, Failed)
    assert twice.killed == 2
    other = job_outcome(job(killed=2, **ended("Failed")), [pod(terminated(75))], AT_US)
    assert isinstance(other, Failed)
    assert other.killed == 0


def test_a_waiting_pod_says_what_it_waits_for() -> None:
    image = pod({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}, phase="Pending")
    condition = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}
    unscheduled = pod(phase="Pending", conditions=[condition])
    for it, words in ((image, "ImagePullBackOff: no such image"), (unscheduled, "0/3 nodes are available")):
        found = job_outcome(job(), [it], AT_US)
        assert isinstance(found, Running)
        assert found.waiting
        assert words in found.sentence


UNSCHEDULED = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes", "lastTransitionTime": AT}
CREATING = {"waiting": {"reason": "ContainerCreating"}}


@pytest.mark.parametrize(
    ("waiting", "usual_us", "words"),
    [
        (pod(phase="Pending", conditions=[UNSCHEDULED]), NO_NODE_US, "finds no node: 0/3 nodes"),
        (pod(CREATING, phase="Pending", startTime=AT), NO_START_US, "kubectl describe pod p says why"),
    ],
    ids=["node", "sandbox"],
)
def test_what_waits_for_a_node_or_a_sandbox_for_longer_than_is_usual_cannot_start(
    waiting: dict[str, Any], usual_us: int, words: str
) -> None:
    def stuck(after_us: int) -> dict[str, str]:
        outcome = job_outcome(job(), [waiting], AT_US + after_us)
        return JobAttempts([JobAttempt(job(), outcome)]).stuck

    assert stuck(usual_us) == {}
    [sentence] = stuck(usual_us + 1).values()
    assert words in sentence


def test_a_job_whose_pod_was_evicted_says_so_until_there_is_another() -> None:
    told = {"type": "DisruptionTarget", "status": "True", "message": "Eviction API: evicting"}
    evicted = pod({"running": {}}, conditions=[told])
    evicted["metadata"]["deletionTimestamp"] = AT
    lost, found = (
        job_outcome(job(), [evicted], AT_US),
        job_outcome(job(), [evicted, pod({"running": {}})], AT_US),
    )
    assert isinstance(lost, Running)
    assert lost.waiting
    assert lost.sentence == "Job flights-1-1 lost its pod and gets another one: Eviction API: evicting"
    assert found == Running("Job flights-1-1 is running", waiting=False)


def test_only_a_job_whose_container_has_not_begun_waits() -> None:
    waiting = pod({"waiting": {"reason": "ImagePullBackOff"}})
    found = records(
        (job(), [waiting]), (job(attempt=2), [pod({"running": {}})]), (job(attempt=3, **ended("Failed")), [])
    )
    assert [it.waits for it in found.all] == [True, False, False]


def test_a_pod_that_starts_is_running() -> None:
    found = job_outcome(job(), [pod({"waiting": {"reason": "ContainerCreating"}})], AT_US)
    assert found == Running("Job flights-1-1 is running", waiting=False)


def test_a_job_that_follows_an_oom_kill_says_with_how_much_memory_it_runs() -> None:
    found = job_outcome(job(killed=1), [pod({"running": {}})], AT_US)
    assert found == Running("Job flights-1-1, with 1.0 KiB after 1 OOM kill, is running", waiting=False)


def test_work_that_was_never_tried_is_due_at_once() -> None:
    assert records().due(BATCH, AT_US) == NextAttempt(1, 0)


def test_failed_work_is_due_after_its_backoff_as_the_next_attempt() -> None:
    found = records((job(attempt=3, **ended("Failed")), [pod(terminated(75))]))
    assert isinstance(found.due(BATCH, AT_US + SECOND_US // 2), FailureStreak)
    assert found.due(BATCH, AT_US + SECOND_US) == NextAttempt(4, 0)
    assert found.attempts[BATCH.key].count == 3


def test_what_failed_before_storage_answered_again_is_due_then_and_what_failed_by_itself_is_not() -> None:
    away = Failure(type="StorageError", problem="storage did not answer", retryable=True)
    wrong = Failure(type="SpecError", problem="no column 'v'", retryable=False)
    for failure, type_, is_due in ((away, NextAttempt, True), (wrong, FailureStreak, False)):
        last = job(attempt=9, **ended("Failed"))
        attempt = JobAttempt(
            last, job_outcome(last, [pod(terminated(75, message=failure.model_dump_json()))], AT_US)
        )
        assert isinstance(JobAttempts([attempt]).due(BATCH, AT_US + SECOND_US), FailureStreak)
        assert isinstance(
            JobAttempts([attempt], recovered_us=AT_US - 1).due(BATCH, AT_US + SECOND_US), FailureStreak
        )
        recovered = JobAttempts([attempt], recovered_us=AT_US + 1)
        assert isinstance(recovered.due(BATCH, AT_US + SECOND_US), type_)
        assert (recovered.attempts[BATCH.key].next_us <= AT_US) is is_due


def test_only_the_newest_job_of_a_step_counts() -> None:
    old = job(attempt=1, created="2023-11-14T22:00:00Z", **ended("Failed"))
    new = job(attempt=2)
    found = records((new, []), (old, []))
    assert found.attempts == {}
    assert list(found.waiting) == [BATCH.key]


def test_a_job_that_ended_well_without_a_result_is_run_again_and_backs_off() -> None:
    complete = job(**ended("Complete"))
    complete["status"]["completionTime"] = AT
    found = records((complete, []))
    assert isinstance(found.due(BATCH, AT_US), FailureStreak)
    assert found.due(BATCH, AT_US + SECOND_US) == NextAttempt(2, 0)


def test_other_work_of_the_same_step_starts_from_the_first_attempt_after_a_success() -> None:
    done, more = BuildView("v", "d", 5, "0f"), BuildView("v", "d", 6, "0f")
    found = records((job(done, attempt=4, **ended("Complete")), []))
    assert found.due(more, AT_US) == NextAttempt(1, 0)


def test_a_failure_of_the_same_step_counts_for_other_work_of_it() -> None:
    done, more = BuildView("v", "d", 5, "0f"), BuildView("v", "d", 6, "0f")
    found = records((job(done, attempt=4, **ended("Failed")), []))
    assert found.due(more, AT_US + 100 * SECOND_US) == NextAttempt(5, 0)


def test_a_second_old_success_never_hides_the_failure_of_other_work() -> None:
    done, more = BuildView("v", "d", 5, "0f"), BuildView("v", "d", 6, "0f")
    found = records(
        (job(done, attempt=4, **ended("Complete")), []), (job(more, attempt=1, **ended("Failed")), [])
    )
    assert found.due(more, AT_US + 10 * SECOND_US) == NextAttempt(2, 0)


def test_jobs_that_tell_nothing_more_may_go_the_last_failure_of_planned_work_stays() -> None:
    first = job(attempt=1, created="2023-11-14T22:00:00Z", **ended("Failed"))
    last = job(attempt=2, **ended("Failed"))
    running = job(RunBatch("flights", 2, "0f"))
    found = records((first, []), (last, []), (running, []))
    assert [it.job for it in found.settled({BATCH.key})] == [first]
    assert [it.job for it in found.settled(())] == [first, last]
    assert isinstance(job_outcome(job(**ended("Complete")), [], AT_US), Succeeded)
