"""``kubectl featurestore`` as kubectl runs it, before a real API server, with neither keys nor an operator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import manifest
import pytest
from cluster.binaries import built
from cluster.control_plane import ControlPlane
from cluster.fixtures import namespace_of

from featurestore.kubectl.advice import ADVICE, HEALS
from featurestore.kubectl.cluster import LABELS, PIPELINE_LABEL
from featurestore.kubectl.plugin import SHORT_NAMES
from featurestore.reconcile.reasons import Reason
from featurestore.resources.kinds import KINDS
from featurestore_operator.kube import access
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.api_resources import (
    DATA_PIPELINE,
    EVENT,
    FEATURE_STORE,
    FEATURE_VIEW,
    JOB,
    POD,
)
from featurestore_operator.kube.event import event
from featurestore_operator.metrics import Metrics

AT, NOW_US = "2026-01-01T00:00:00Z", 1_767_225_600_000_000
Object = dict[str, Any]


class Team:
    """A namespace with a pipeline that fails, a view of it, and a user who may view it."""

    def __init__(self, plane: ControlPlane, namespace: str, folder: Path) -> None:
        self.plane, self.namespace, self.folder = plane, namespace, folder
        self.api = Api(access.configuration(str(plane.kubeconfig)), Metrics())
        self.plane.kubectl("create", "serviceaccount", "jobs", f"--namespace={namespace}")
        for program in ("kubectl", "kubectl-featurestore"):
            target = built("kubectl") if program == "kubectl" else Path(sys.executable).parent / program
            (folder / program).symlink_to(target)
        made = (
            manifest.store(namespace),
            manifest.pipeline(namespace, "flights"),
            manifest.view(namespace, "delays", "flights"),
        )
        self.pipeline = [
            self.api.create(resource, it)
            for resource, it in zip((FEATURE_STORE, DATA_PIPELINE, FEATURE_VIEW), made, strict=True)
        ][1]
        self.say(
            FEATURE_STORE,
            "default",
            ("Ready", "True", "Answers", "all answers"),
            ("Workers", "True", "Answers", "1 worker of 2 are ready."),
        )
        self.say(
            DATA_PIPELINE,
            "flights",
            ("Ready", "False", "Failed", "batch 3 failed: no module my_package"),
            ("Degraded", "True", "Failed", "batch 3 failed: no module my_package"),
            ("QuarantineEmpty", "False", "InQuarantine", "2 files and 7 rows wait for a decision"),
            rows=1234,
            quarantinedRows=7,
            quarantinedFiles=2,
            lastBatches=[
                {
                    **{"number": 2, "commit": 3, "time": AT, "files": 4, "rows": 40},
                    **{"quarantinedRows": 7, "quarantinedFiles": 2},
                    "broken": [{"rule": "plausible-distance", "rows": 7}, {"rule": "unreadable", "files": 2}],
                }
            ],
        )
        self.say(FEATURE_VIEW, "delays", ("Ready", "False", "WaitingForData", "flights has no commit yet"))

    def role(self, name: str, resources: str) -> None:
        options = ("--verb=get,list", f"--resource={resources}", f"--namespace={self.namespace}")
        self.plane.kubectl("create", "role", name, *options)

    def bind(self, role: str, user: str) -> None:
        options = (f"--role={role}", f"--user={user}", f"--namespace={self.namespace}")
        self.plane.kubectl("create", "rolebinding", f"{user}-{role}", *options)

    def say(self, resource: Any, name: str, *conditions: tuple[str, str, str, str], **facts: Any) -> None:
        parts = ("type", "status", "reason", "message")
        said = [
            {**dict(zip(parts, it, strict=True)), "lastTransitionTime": AT, "observedGeneration": 1}
            for it in conditions
        ]
        status = {"observedGeneration": 1, "conditions": said, **facts}
        self.api.apply_status(
            resource, {"metadata": {"namespace": self.namespace, "name": name}, "status": status}
        )

    def fail(self, name: str, attempt: int, failure: Object) -> None:
        """A Job of the pipeline failed, and its pod is still there with what it said."""
        job = manifest.job(self.namespace, name, "flights")
        job["metadata"]["annotations"] = {
            "featurestore.dev/step": "batch/flights/3",
            "featurestore.dev/attempt": str(attempt),
        }
        self.api.create(JOB, job)
        ended = [
            {"type": it, "status": "True", "lastTransitionTime": AT} for it in ("FailureTarget", "Failed")
        ]
        status = {"startTime": AT, "conditions": ended}
        self.api.apply_status(
            JOB, {"metadata": {"namespace": self.namespace, "name": name}, "status": status}
        )
        pod = manifest.pod(self.namespace, name, "flights")
        pod["metadata"]["labels"]["batch.kubernetes.io/job-name"] = name
        self.api.create(POD, pod)
        terminated = {"exitCode": 5, "reason": "Error", "message": json.dumps(failure), "finishedAt": AT}
        container = {"name": "it", "image": "none", "imageID": "", "ready": False, "restartCount": 0}
        status = {
            "phase": "Failed",
            "containerStatuses": [{**container, "state": {"terminated": terminated}}],
        }
        self.api.apply_status(
            POD, {"metadata": {"namespace": self.namespace, "name": name}, "status": status}
        )

    def ask(self, *arguments: str, user: str = "ann") -> tuple[int, str]:
        """Exit code, and what is printed."""
        done = subprocess.run(
            [self.folder / "kubectl", "featurestore", *arguments],
            env={
                "PATH": f"{self.folder}{os.pathsep}{os.environ['PATH']}",
                "KUBECONFIG": str(self.plane.kubeconfig_of(user)),
                "HOME": str(self.folder),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        return done.returncode, done.stdout + done.stderr

    def __call__(self, *arguments: str) -> str:
        code, text = self.ask(*arguments, "-n", self.namespace)
        assert code == 0, text
        return text


@pytest.fixture(scope="module")
def team(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    with namespace_of(control_plane) as namespace:
        team = Team(control_plane, namespace, tmp_path_factory.mktemp("plugin"))
        # What the roles of our installation and of Kubernetes let those see who may view a namespace.
        team.role("features", ",".join(kind.plural for kind in KINDS.values()))
        team.role("jobs", "jobs,pods,pods/log,events")
        team.bind("features", "ann")
        team.bind("jobs", "ann")
        yield team
        team.api.close()


def test_status_shows_each_resource_with_what_is_wrong(team: Team) -> None:
    rows = {line.split()[0]: line for line in team("status").splitlines()}
    assert "Failed, InQuarantine" in rows["datapipeline/flights"]
    assert "1,234" in rows["datapipeline/flights"]
    assert rows["featurestore/default"].split()[1] == "True"
    assert rows["featurestore/default"].endswith("none")
    assert rows["featureview/delays"].split()[1] == "False"
    assert rows["featureview/delays"].endswith("WaitingForData")


def test_status_as_json_is_for_scripts(team: Team) -> None:
    (found,) = json.loads(team("status", "dp/flights", "-o", "json"))
    assert (found["kind"], found["ready"], found["reason"]) == ("DataPipeline", "False", "Failed")
    assert found["status"]["rows"] == 1234


def test_quarantine_shows_which_rules_the_last_batches_met(team: Team) -> None:
    found = team("quarantine")
    assert "datapipeline/flights: 2 files and 7 rows in quarantine" in found
    assert [line.split()[-3:] for line in found.splitlines() if "plausible" in line] == [
        ["plausible-distance", "-", "7"]
    ]
    assert [line.split()[-3:] for line in found.splitlines() if "unreadable" in line] == [
        ["unreadable", "2", "-"]
    ]
    assert "delays" not in found
    assert "nothing is in quarantine" in team("quarantine", "delays")


def test_why_says_what_is_wrong_since_when_what_was_tried_and_what_to_do(team: Team) -> None:
    failure = {
        "type": "CodeError",
        "problem": "no module my_package",
        "got": "ImportError",
        "retryable": False,
    }
    team.fail("flights-3-a", 1, failure)
    team.fail("flights-3-b", 2, failure)
    about = team.api.get(DATA_PIPELINE, team.namespace, "flights")
    team.api.create(EVENT, event(about, "Warning", "Failed", "batch 3 failed", NOW_US, "it"))
    page = team("why", "flights")
    wrong, tried, told, todo = page.split("\n\n")[1:]
    assert "Ready: False since " in page
    assert "no module my_package" in wrong
    assert [line.split()[1:3] for line in tried.splitlines()[2:]] == [
        ["batch/flights/3", it] for it in ("2", "1")
    ]
    assert "failed: no module my_package: got ImportError" in tried
    assert "batch 3 failed" in told
    assert "Correct what the message names" in todo
    assert (
        f"kubectl annotate --overwrite -n {team.namespace} datapipeline flights featurestore.dev/retry"
        in todo
    )


def test_why_of_a_view_names_the_pipeline_that_it_waits_for(team: Team) -> None:
    page = team("why", "view/delays")
    assert "datapipeline/flights" in page
    assert "no module my_package" in page
    assert f"kubectl featurestore why -n {team.namespace} datapipeline/flights" in page


def test_why_of_a_store_tells_of_workers_that_stay(team: Team) -> None:
    assert "Workers that stay: 1 worker of 2 are ready." in team("why", "store/default")


def test_history_shows_batches_jobs_and_events(team: Team) -> None:
    found = team("history", "flights")
    (batch,) = [line.split() for line in found.splitlines() if line.split()[:2] == ["2", "3"]]
    assert batch[3:] == ["4", "40", "7", "2"]


def test_logs_are_asked_for_of_each_attempt_at_a_batch_and_of_workers(team: Team) -> None:
    failure = {"type": "CodeError", "problem": "no module my_package", "retryable": False}
    team.fail("flights-3-c", 3, failure)
    worker = manifest.pod(team.namespace, "worker-1", "")
    worker["metadata"]["labels"] = {"app.kubernetes.io/name": "featurestore-worker"}
    worker["spec"]["nodeName"] = "gone"
    team.api.create(POD, worker)
    text = team("logs", "flights", "--batch=3")
    assert "── batch/flights/3, attempt 3, pod flights-3-c\nIt has logged nothing." in text
    assert "! not shown: the log of worker worker-1: " in text
    assert team("logs", "flights").count("attempt 3") == 1, "the newest work"
    assert "a log goes with its pod" in team("logs", "flights", "--batch=4")


def test_whoever_may_not_read_logs_is_told_so(team: Team) -> None:
    team.role("no-logs", "jobs,pods")
    for role in ("features", "no-logs"):
        team.bind(role, "dan")
    team.fail("flights-3-d", 4, {"type": "CodeError", "problem": "as before", "retryable": False})
    code, text = team.ask("logs", "flights", "-n", team.namespace, user="dan")
    assert code == 75, text
    assert "forbidden" in text.lower()


def test_a_name_that_is_not_there_is_told_with_the_nearest_one(team: Team) -> None:
    code, text = team.ask("why", "fligths", "-n", team.namespace)
    assert code == 3
    assert "Did you mean 'flights'?" in text


def test_a_spec_that_no_operator_has_looked_at_is_told(team: Team) -> None:
    team.api.create(DATA_PIPELINE, manifest.pipeline(team.namespace, "unseen"))
    assert "not looked at yet" in team("status", "unseen")
    assert "Is one running" in team("why", "unseen")


def test_what_kubectl_is_refused_is_told_in_its_words(team: Team) -> None:
    code, text = team.ask("status", "-n", team.namespace, user="stranger")
    assert code == 75
    assert "forbidden" in text.lower()


def test_kinds_that_a_user_may_not_list_are_named_and_the_others_shown(team: Team) -> None:
    team.role("pipelines", "datapipelines")
    team.bind("pipelines", "eve")
    code, text = team.ask("status", "-n", team.namespace, user="eve")
    assert code == 0, text
    assert "datapipeline/flights" in text
    assert "featureview/delays" not in text
    (said,) = (it for it in text.splitlines() if "not shown" in it and "featureviews" in it)
    assert "forbidden" in said


def test_the_plugin_knows_the_labels_and_short_names_of_all_kinds() -> None:
    kinds = {name: kind for name, kind in KINDS.items() if not kind.cluster_wide}
    assert {it: kind.label for it, kind in kinds.items() if kind.label} == {
        "DataPipeline": PIPELINE_LABEL,
        **LABELS,
    }
    assert {kind.short: name.lower() for name, kind in kinds.items()} == SHORT_NAMES


def test_a_user_who_may_not_see_jobs_still_gets_the_page(team: Team) -> None:
    team.bind("features", "bob")
    code, text = team.ask("why", "flights", "-n", team.namespace, user="bob")
    assert code == 0, text
    assert "What was tried" not in text
    assert "What to do" in text


def test_options_of_kubectl_count_before_and_after_the_command(team: Team) -> None:
    for arguments in (
        ("-n", team.namespace, "status"),
        ("status", "--context=it", f"--namespace={team.namespace}"),
    ):
        code, text = team.ask(*arguments)
        assert code == 0, text
        assert "datapipeline/flights" in text


def test_text_of_others_cannot_control_the_terminal(team: Team) -> None:
    team.api.create(DATA_PIPELINE, manifest.pipeline(team.namespace, "loud"))
    team.say(DATA_PIPELINE, "loud", ("Ready", "False", "Failed", "a\x1b[2Jb"))
    for command in ("status", "why", "history", "quarantine"):
        assert "\x1b" not in team(command, "loud")


def test_each_reason_heals_by_itself_or_has_advice() -> None:
    assert HEALS | set(ADVICE) == {it.value for it in Reason}
    assert not HEALS & set(ADVICE)
