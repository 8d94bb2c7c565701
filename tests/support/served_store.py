"""A FeatureStore of a tenant with feature servers beside it, and programs that read from them again and again."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import flights
from conditions import Object
from eventually import eventually
from tenant import Tenant

SERVERS = "app.kubernetes.io/name=featurestore-server"
MODEL = "model"
BODY = json.dumps({"features": list(flights.FEATURES), "entities": {"tailnum": [flights.TAILNUM]}})
BETWEEN_S = 0.005
"""Some hundred reads a second of each program: the machine has the servers to run as well."""


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
        content = json.loads(answer.read())
        if answer.getheader("connection") == "close":
            self.close()
        return answer.status, content

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Load:
    """Reads again and again. ``wrong``: what was not as in the first answer, and what failed."""

    def __init__(self, client: Client, wanted: tuple[int, Any], between_s: float) -> None:
        self.reads, self.wrong = 0, list[object]()
        self._client, self._wanted, self._ended = client, wanted, threading.Event()
        self._between_s = between_s
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._between_s):
            try:
                answer = self._client.read()
            except (OSError, http.client.HTTPException) as error:
                self._client.close()
                self.wrong.append(error)
            else:
                self.reads += 1
                if answer != self._wanted:
                    self.wrong.append(answer)
        self._client.close()


@contextmanager
def load(
    tenant: Tenant, wanted: tuple[int, Any], programs: int = 3, between_s: float = BETWEEN_S
) -> Iterator[list[Load]]:
    """Programs that read what the model may, until the end of the block."""
    loads = [Load(Client(tenant, MODEL), wanted, between_s) for _ in range(programs)]
    for each in loads:
        each.start()
    try:
        yield loads
    finally:
        for each in loads:
            each.stop()


def serve(tenant: Tenant, s3: dict[str, str], serving: Object) -> tuple[int, Any]:
    """What the model reads, once the flights of a day are there and a server answers."""
    tenant.kubectl("create", "serviceaccount", MODEL)
    rules = ("--verb=get", "--resource=featureviews.featurestore.dev", "--resource-name=aircraft-delays")
    tenant.kubectl("create", "role", "reads", *rules)
    tenant.kubectl(
        "create", "rolebinding", "reads", "--role=reads", f"--serviceaccount={tenant.namespace}:{MODEL}"
    )
    tenant.apply(tenant.secret("s3", **s3))
    store = flights.store(tenant, flights.DUCKDB)
    store["spec"]["serving"] = serving
    tenant.apply(store, flights.pipeline(tenant), flights.view())
    tenant.until("datapipeline", "flights", "WaitingForFiles")
    flights.put(s3, tenant.namespace, 1)
    tenant.until("featureview", "aircraft-delays", "UpToDate")
    eventually(lambda: status(tenant).get("readyReplicas") == 1, 180, lambda: trouble(tenant))
    tenant.until("featurestore", "default", "Answers")
    known = Client(tenant, MODEL)
    # What it has looked up before the view was there counts for some seconds.
    eventually(lambda: known.read()[0] == 200, 60, lambda: str(known.read()))
    answer = known.read()
    known.close()
    return answer


def status(tenant: Tenant) -> Object:
    """What the FeatureStore says of its servers."""
    serving: Object = tenant.get("featurestore", "default").get("status", {}).get("serving") or {}
    return serving


def pods(tenant: Tenant) -> set[str]:
    return {pod["metadata"]["name"] for pod in tenant.all("pod", SERVERS)}


def trouble(tenant: Tenant) -> str:
    described = tenant.kubectl(
        "describe", "horizontalpodautoscalers,deployments,pods", f"--selector={SERVERS}"
    )
    return described[-8000:] + tenant.kubectl("logs", f"--selector={SERVERS}", "--tail=40", "--prefix")
