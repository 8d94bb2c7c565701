"""A feature server that the operator keeps: who may read from it, and that nobody notices when it is replaced."""

from __future__ import annotations

import json

import flights
from conditions import Object
from eventually import eventually
from installed import Installed
from served_store import MODEL, Client, load, pods, serve, status, trouble
from tenant import Tenant

SERVING: Object = {"replicas": {"min": 1, "max": 2}, "template": {"cpu": "100m"}}


def test_a_server_answers_whom_rbac_lets_read_and_is_replaced_without_a_failed_request(
    tenant: Tenant, installed: Installed, s3: dict[str, str]
) -> None:
    answer = serve(tenant, s3, SERVING)
    assert status(tenant)["url"] == f"http://default-server.{tenant.namespace}.svc:6566"
    assert (
        answer[1]["features"]["last_arr_delay"]
        == flights.day(1).query(f"tailnum == '{flights.TAILNUM}'").tail(1)["arr_delay"].tolist()
    )
    tenant.kubectl("create", "serviceaccount", "stranger")
    for account, refused in (("stranger", 403), ("", 401)):
        caller = Client(tenant, account)
        assert caller.read()[0] == refused
        caller.close()

    [old] = pods(tenant)
    with load(tenant, answer) as loads:
        tenant.kubectl("patch", "featurestore", "default", "--type=merge", f"--patch={rolled()}")
        eventually(lambda: len(pods(tenant)) == 1 and old not in pods(tenant), 240, lambda: trouble(tenant))
        before = [each.reads for each in loads]
        eventually(
            lambda: all(each.reads > n + 50 or each.wrong for each, n in zip(loads, before, strict=True)), 60
        )
    assert [it for each in loads for it in each.wrong] == []
    print(f"{sum(each.reads for each in loads)} reads while the server was replaced")
    [line, *_] = [it for it in tenant.log(*pods(tenant)).splitlines() if it.startswith("{")]
    read = json.loads(line)
    assert read["caller"] == f"system:serviceaccount:{tenant.namespace}:{MODEL}"

    tenant.kubectl("patch", "featurestore", "default", "--type=merge", '--patch={"spec":{"serving":null}}')
    eventually(lambda: not tenant.all("deployment") and not status(tenant), 60)
    assert not tenant.all("service")


def rolled() -> str:
    template = {"labels": {"version": "next"}}
    return json.dumps({"spec": {"serving": {"template": template}}})
