"""What an operator sees of a real API server, and that it leaves no trace there."""

from __future__ import annotations

import json
from urllib.parse import unquote

from cluster.control_plane import ControlPlane
from eventually import eventually
from manifest import job, pipeline, store, text, view
from operating import Start


def apply(plane: ControlPlane, *manifests: dict[str, object]) -> None:
    plane.kubectl("apply", "--server-side", "--filename=-", stdin=text(*manifests))


def text_of_status(status: dict[str, object]) -> str:
    return json.dumps({"status": status})


def test_it_sees_what_is_there_what_changes_and_what_goes(
    control_plane: ControlPlane, namespace: str, start: Start
) -> None:
    apply(control_plane, pipeline(namespace, "flights", "before"))
    operator = start()
    eventually(
        lambda: [it["description"] for it in operator.looks_at("DataPipeline", "flights")] == ["before"]
    )
    apply(control_plane, pipeline(namespace, "flights", "after"))
    eventually(lambda: operator.looks_at("DataPipeline", "flights")[-1]["description"] == "after")
    control_plane.kubectl("delete", "dp", "flights", f"--namespace={namespace}")
    eventually(lambda: not operator.looks_at("DataPipeline", "flights")[-1]["there"])


def test_a_change_wakes_those_that_it_concerns(
    control_plane: ControlPlane, namespace: str, start: Start
) -> None:
    apply(
        control_plane,
        pipeline(namespace, "flights"),
        pipeline(namespace, "trips", looks_up="flights"),
        pipeline(namespace, "other"),
        view(namespace, "aircraft", "flights"),
        view(namespace, "elsewhere", "other"),
    )
    operator = start()
    eventually(lambda: len(operator.seen()) >= 5)
    before = len(operator.seen())
    apply(control_plane, pipeline(namespace, "flights", "changed"))
    eventually(lambda: len(operator.seen()) >= before + 3)
    assert {it["name"] for it in operator.seen()[before:]} == {"flights", "trips", "aircraft"}
    before = len(operator.seen())
    apply(control_plane, store(namespace))
    eventually(lambda: len(operator.seen()) >= before + 6)
    named = {"default", "flights", "trips", "other", "aircraft", "elsewhere"}
    assert {it["name"] for it in operator.seen()[before:]} == named


def test_a_job_and_its_end_wake_its_pipeline_and_the_views(
    control_plane: ControlPlane, namespace: str, start: Start
) -> None:
    apply(control_plane, pipeline(namespace, "flights"), view(namespace, "aircraft", "flights"))
    operator = start()
    apply(control_plane, job(namespace, "flights-1", "flights"))
    eventually(lambda: any(it["jobs"] for it in operator.looks_at("DataPipeline", "flights")))
    before = len(operator.looks_at("FeatureView", "aircraft"))
    moment = "2026-01-01T00:00:00Z"
    done = {"type": "Complete", "status": "True", "lastTransitionTime": moment}
    sure = {"type": "SuccessCriteriaMet", "status": "True", "lastTransitionTime": moment}
    status = {"conditions": [sure, done], "startTime": moment, "completionTime": moment, "succeeded": 1}
    control_plane.kubectl(
        "patch",
        "job",
        "flights-1",
        f"--namespace={namespace}",
        "--subresource=status",
        "--type=merge",
        f"--patch={text_of_status(status)}",
    )
    eventually(lambda: len(operator.looks_at("FeatureView", "aircraft")) > before)


def test_a_status_wakes_nobody_but_those_that_wait_for_the_dataset(
    control_plane: ControlPlane, namespace: str, start: Start
) -> None:
    apply(control_plane, pipeline(namespace, "flights"), view(namespace, "aircraft", "flights"))
    operator = start()
    eventually(lambda: len(operator.seen()) >= 2 and operator.at_rest())
    before = len(operator.seen())
    patch = ("patch", f"--namespace={namespace}", "--subresource=status", "--type=merge")
    control_plane.kubectl(*patch, "fv", "aircraft", f"--patch={text_of_status({'rows': 7})}")
    control_plane.kubectl(*patch, "dp", "flights", f"--patch={text_of_status({'rows': 7})}")
    control_plane.kubectl(*patch, "dp", "flights", f"--patch={text_of_status({'commit': 7})}")
    eventually(lambda: len(operator.seen()) > before)
    assert [it["name"] for it in operator.seen()[before:]] == ["aircraft"]


def test_objects_of_others_are_not_looked_at(
    control_plane: ControlPlane, namespace: str, start: Start
) -> None:
    operator = start(user="shy")
    lists = [it for it in control_plane.audit.requests("shy") if it.resource in ("pods", "jobs.batch")]
    assert lists
    assert all("labelSelector=app.kubernetes.io/managed-by=featurestore" in unquote(it.uri) for it in lists)
    assert operator.seen() == []


def test_managed_fields_are_not_kept(control_plane: ControlPlane, namespace: str, start: Start) -> None:
    apply(control_plane, pipeline(namespace, "flights"))
    operator = start()
    eventually(lambda: operator.looks_at("DataPipeline", "flights") != [])
    assert "managedFields" not in operator.looks_at("DataPipeline", "flights")[0]["fields"]


def test_nothing_is_written_by_watching(control_plane: ControlPlane, namespace: str, start: Start) -> None:
    since = control_plane.audit.mark()
    operator = start(user="quiet")
    apply(
        control_plane,
        store(namespace),
        pipeline(namespace, "flights"),
        view(namespace, "aircraft", "flights"),
    )
    eventually(lambda: len({it["name"] for it in operator.seen()}) == 3)
    control_plane.kubectl("delete", "dp", "flights", f"--namespace={namespace}")
    eventually(lambda: not operator.looks_at("DataPipeline", "flights")[-1]["there"])
    assert control_plane.audit.writes("quiet", since) == []
    assert control_plane.audit.requests("quiet", since) != []


def test_only_the_namespaces_it_serves_are_seen_and_asked_for(
    control_plane: ControlPlane, namespace: str, start: Start
) -> None:
    since = control_plane.audit.mark()
    apply(control_plane, pipeline(namespace, "flights"))
    operator = start(f"--namespace={namespace}", "--namespace=elsewhere", "--no-leader-elect", user="narrow")
    eventually(lambda: operator.looks_at("DataPipeline", "flights") != [])
    asked = control_plane.audit.requests("narrow", since)
    named = {it.namespace for it in asked if it.resource}
    assert named == {namespace, "elsewhere"}


def test_a_resync_looks_at_everything_though_nothing_happened(
    control_plane: ControlPlane, namespace: str, start: Start
) -> None:
    apply(control_plane, pipeline(namespace, "flights"))
    operator = start("--resync-s=1", "--no-leader-elect")
    eventually(lambda: len(operator.looks_at("DataPipeline", "flights")) >= 3)


def test_a_restarted_api_server_is_survived_and_nothing_is_missed(
    control_plane: ControlPlane, namespace: str, start: Start
) -> None:
    apply(control_plane, pipeline(namespace, "stays", "before"), pipeline(namespace, "goes"))
    operator = start()
    eventually(lambda: len(operator.seen()) >= 2)
    control_plane.kill_api_server()
    control_plane.start_api_server()
    apply(control_plane, pipeline(namespace, "stays", "after"), pipeline(namespace, "comes"))
    control_plane.kubectl("delete", "dp", "goes", f"--namespace={namespace}")
    eventually(lambda: operator.looks_at("DataPipeline", "stays")[-1]["description"] == "after")
    eventually(lambda: operator.looks_at("DataPipeline", "comes") != [])
    eventually(lambda: not operator.looks_at("DataPipeline", "goes")[-1]["there"])
    assert operator.get("/healthz")[0] == 200
