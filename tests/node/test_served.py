"""A feature server that the operator keeps: who may read from it, and that nobody notices when it is replaced."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import flights
from eventually import eventually
from installed import Installed
from tenant import Object, Tenant

SERVERS = "app.kubernetes.io/name=featurestore-server"
BODY = json.dumps({"features": list(flights.FEATURES), "entities": {"tailnum": [flights.TAILNUM]}})
SERVING: Object = {"replicas": {"min": 1, "max": 2}, "template": {"cpu": "100m"}}


class Client:
    """A program with the token of a ServiceAccount, and a connection that it keeps as long as it may."""

    def __init__(self, tenant: Tenant, account: str) -> None:
        self._address = tenant.get("service", "default-server")["spec"]["clusterIP"]
        token = tenant.kubectl("create", "token", account).strip() if account else ""
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._connection: http.client.HTTPConnection | None = None

    def read(self) -> tuple[int, Any]:
        """Status and body; raises OSError or HTTPException if the connection fails."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._address, 6566, timeout=60)
        self._connection.request("POST", "/v1/features", BODY, self._headers)
        answer = self._connection.getresponse()
        found = json.loads(answer.read())
        if answer.getheader("connection") == "close":
            self.close()
        return answer.status, found

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Load:
    """Reads again and again. ``wrong``: what was not as in the first answer, and what failed."""

    def __init__(self, client: Client, wanted: tuple[int, Any]) -> None:
        self.reads, self.wrong = 0, list[object]()
        self._client, self._wanted, self._ended = client, wanted, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        # Some hundred a second: the machine has the servers to run as well.
        while not self._ended.wait(0.005):
            try:
                found = self._client.read()
            except (OSError, http.client.HTTPException) as error:
                self._client.close()
                self.wrong.append(error)
            else:
                self.reads += 1
                if found != self._wanted:
                    self.wrong.append(found)
        self._client.close()


@contextmanager
def load(tenant: Tenant, wanted: tuple[int, Any]) -> Iterator[list[Load]]:
    loads = [Load(Client(tenant, "model"), wanted) for _ in range(3)]
    for each in loads:
        each.start()
    try:
        yield loads
    finally:
        for each in loads:
            each.stop()


def allowed(tenant: Tenant, account: str) -> None:
    """The ServiceAccount may read the view."""
    rules = ("--verb=get", "--resource=featureviews.featurestore.dev", "--resource-name=aircraft-delays")
    tenant.kubectl("create", "role", "reads", *rules)
    tenant.kubectl(
        "create", "rolebinding", "reads", "--role=reads", f"--serviceaccount={tenant.namespace}:{account}"
    )


def serving(tenant: Tenant) -> Object:
    found: Object = tenant.get("featurestore", "default").get("status", {}).get("serving") or {}
    return found


def pods(tenant: Tenant) -> set[str]:
    return {it["metadata"]["name"] for it in tenant.all("pod", SERVERS)}


def told(tenant: Tenant) -> str:
    return tenant.kubectl("describe", "deployments,pods", f"--selector={SERVERS}")[-6000:] + tenant.kubectl(
        "logs", f"--selector={SERVERS}", "--tail=40", "--prefix"
    )


def test_a_server_answers_whom_rbac_lets_read_and_is_replaced_without_a_failed_request(
    tenant: Tenant, installed: Installed, s3: dict[str, str]
) -> None:
    for account in ("model", "stranger"):
        tenant.kubectl("create", "serviceaccount", account)
    allowed(tenant, "model")
    tenant.apply(tenant.secret("s3", **s3))
    store = flights.store(tenant, flights.DUCKDB)
    store["spec"]["serving"] = SERVING
    tenant.apply(store, flights.pipeline(tenant), flights.view())
    tenant.until("datapipeline", "flights", "WaitingForFiles")
    flights.put(s3, tenant.namespace, 1)
    tenant.until("featureview", "aircraft-delays", "UpToDate")
    eventually(lambda: serving(tenant).get("readyReplicas") == 1, 180, lambda: told(tenant))
    tenant.until("featurestore", "default", "Answers")
    assert serving(tenant)["url"] == f"http://default-server.{tenant.namespace}.svc:6566"

    known = Client(tenant, "model")
    # What it has looked up before the view was there counts for some seconds.
    eventually(lambda: known.read()[0] == 200, 60, lambda: str(known.read()))
    status, found = known.read()
    known.close()
    assert (
        found["features"]["last_arr_delay"]
        == flights.day(1).query(f"tailnum == '{flights.TAILNUM}'").tail(1)["arr_delay"].tolist()
    )
    for account, refused in (("stranger", 403), ("", 401)):
        caller = Client(tenant, account)
        assert caller.read()[0] == refused
        caller.close()

    [old] = pods(tenant)
    with load(tenant, (status, found)) as loads:
        tenant.kubectl("patch", "featurestore", "default", "--type=merge", f"--patch={rolled()}")
        eventually(lambda: len(pods(tenant)) == 1 and old not in pods(tenant), 240, lambda: told(tenant))
        before = [each.reads for each in loads]
        eventually(
            lambda: all(each.reads > n + 50 or each.wrong for each, n in zip(loads, before, strict=True)), 60
        )
    assert [it for each in loads for it in each.wrong] == []
    print(f"{sum(each.reads for each in loads)} reads while the server was replaced")
    [line, *_] = [it for it in tenant.log(*pods(tenant)).splitlines() if it.startswith("{")]
    read = json.loads(line)
    assert read["caller"] == f"system:serviceaccount:{tenant.namespace}:model"

    tenant.kubectl("patch", "featurestore", "default", "--type=merge", '--patch={"spec":{"serving":null}}')
    eventually(lambda: not tenant.all("deployment") and not serving(tenant), 60)
    assert not tenant.all("service")


def rolled() -> str:
    template = {"labels": {"version": "next"}}
    return json.dumps({"spec": {"serving": {"template": template}}})
