"""A real Prometheus scrapes a real operator as the ServiceMonitor says; alerts and dashboard find in it what they ask for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_fault import FirstConflicts
from cluster.binaries import MissingError
from cluster.control_plane import ControlPlane
from cluster.fixtures import namespace_of
from cluster.proxy import proxy
from cluster_story import story
from event_receiver import event_receiver
from eventually import eventually
from installation import (
    ALERTS,
    DASHBOARD,
    GROUPS,
    MONITORING,
    NAMESPACE,
    PANELS,
    Objects,
    kustomized,
    of_kind,
    templated,
)
from prometheus import Prometheus, prometheus
from storage_server import redis as redis_server
from unavailable import unavailable

SELECTOR = re.compile(r"featurestore_operator_\w+(?:\{[^}]*\})?")
INTERVAL_MS = 200
WITHIN_S = 120.0
ROWS = 500


@dataclass(frozen=True)
class Watched:
    """``namespace``: that of the resources."""

    prometheus: Prometheus
    namespace: str

    def said(self, query: str) -> str:
        """The query as Grafana sends it, with this namespace chosen."""
        # As Grafana has it: four scrapes.
        interval = f"{4 * INTERVAL_MS}ms"
        return query.replace("$__rate_interval", interval).replace("$namespace", self.namespace)

    def first(self, query: str) -> dict[str, str]:
        """Labels of a series of the query; waits for one, since a scrape that did not end in time leaves none until the next."""
        series: list[dict[str, str]] = []
        eventually(lambda: series.extend(self.prometheus.series(query)) or series, why=query.__str__)
        return series[0]

    def shown(self, query: str) -> list[dict[str, str]]:
        """Labels of each series that a panel draws."""
        now_s = float(self.prometheus.ask("query", query="time()")["result"][1])
        span = {"start": str(now_s - 2), "end": str(now_s), "step": "1"}
        found = self.prometheus.ask("query_range", query=self.said(query), **span)
        return [it["metric"] for it in found["result"]]


@pytest.fixture(scope="module")
def watched(controllers: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """An operator that took a file, compared it with a training set, told of it, and lost its first writes to others, and
    has a stream; its metrics in a Prometheus."""
    folder = tmp_path_factory.mktemp("watched")
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": GROUPS}))
    with (
        event_receiver() as receiver,
        redis_server(folder) as redis_url,
        namespace_of(controllers) as namespace,
        proxy(controllers, "watched") as way,
        story(controllers, namespace, folder) as it,
    ):
        way.begin(FirstConflicts())
        monitoring = {"reference": {"trainingSet": "set"}, "drift": [{"metric": "PSI", "above": 0.2}]}
        events = {"sink": {"url": receiver.url}}
        stream = {"redis": {"url": redis_url, "stream": "clicks", "format": "JSON"}}
        it.apply(it.store(events=events), it.pipeline(), it.view(monitoring=monitoring), it.training_set())
        operator = it.start(by=way)
        try:
            with prometheus(folder / "prometheus", configuration(operator.port)) as served:
                eventually(lambda: served.series("featurestore_operator_batches_total == 0"))
                it.drop_many(ROWS)
                # The last of all: a version of the training set is made of the view, and then it is compared with that.
                eventually(lambda: served.series("featurestore_operator_drifted == 0"), WITHIN_S, it.told)
                eventually(
                    lambda: served.series("featurestore_operator_events_undelivered == 0"), WITHIN_S, it.told
                )
                eventually(it.settled, WITHIN_S, it.told)
                # It waits for messages, and has a lag meanwhile.
                it.apply(it.pipeline("clicks", source=stream))
                eventually(lambda: served.series("featurestore_operator_lag_offsets == 0"), WITHIN_S, it.told)
                yield Watched(served, namespace)
        except MissingError as missing:
            unavailable(missing)


def configuration(port: int) -> dict[str, Any]:
    """What the Prometheus Operator makes of our ServiceMonitor and rules, with more haste."""
    monitor = yaml.safe_load((MONITORING / "service-monitor.yaml").read_text())
    [endpoint] = monitor["spec"]["endpoints"]
    # Here metrics are open: the token is tried in tests/operator/test_metrics_access.py.
    assert set(endpoint) == {"port", "path", "interval", "honorLabels", "bearerTokenFile"}
    target = {"targets": [f"127.0.0.1:{port}"], "labels": {"namespace": NAMESPACE, "pod": "operator"}}
    return {
        "global": {"scrape_interval": f"{INTERVAL_MS}ms", "evaluation_interval": f"{INTERVAL_MS}ms"},
        "rule_files": ["../rules.yaml"],
        "scrape_configs": [
            {
                "job_name": "featurestore-operator",
                "metrics_path": endpoint["path"],
                "honor_labels": endpoint["honorLabels"],
                "static_configs": [target],
            }
        ],
    }


@pytest.mark.slow
def test_each_panel_shows_something_and_names_it(watched: Watched) -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            eventually(lambda query=target["expr"]: watched.shown(query), WITHIN_S)
            shown = watched.shown(target["expr"])
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                assert all(it.get(label) for it in shown), panel["title"]


@pytest.mark.slow
def test_prometheus_sees_an_increase_by_the_first_batch_of_a_pipeline(watched: Watched) -> None:
    for counter, value in (("batches", 1), ("rows", ROWS)):
        asked = f'featurestore_operator_{counter}_total{{pipeline="events"}}'
        [found] = watched.prometheus.ask("query", query=asked)["result"]
        assert found["value"][1] == str(value)
        assert watched.prometheus.series(f"increase({asked}[5m]) > 0")


@pytest.mark.slow
def test_the_namespaces_to_choose_from_are_those_of_the_resources(watched: Watched) -> None:
    [variable] = [it for it in DASHBOARD["templating"]["list"] if it["type"] == "query"]
    asked = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
    assert asked
    values = watched.prometheus.ask(f"label/{asked[2]}/values", **{"match[]": asked[1]})
    assert values == [watched.namespace]


@pytest.mark.slow
def test_each_series_that_is_asked_for_is_there(watched: Watched) -> None:
    alerts = [alert["expr"] for alert in ALERTS]
    panels = [target["expr"] for panel in PANELS for target in panel["targets"]]
    asked = {watched.said(it) for query in alerts + panels for it in SELECTOR.findall(query)}
    assert len(asked) > 15
    for query in sorted(asked):
        watched.first(query)


@pytest.mark.slow
def test_the_series_that_alerts_are_tried_with_are_those_of_an_operator(watched: Watched) -> None:
    tried = set()
    for cases in (Path(__file__).parent / "alerts").glob("*.yaml"):
        for test in yaml.safe_load(cases.read_text())["tests"]:
            tried |= {it["series"] for it in test["input_series"]}
    assert tried
    for series in tried:
        name, _, labels = series.partition("{")
        assert {*re.findall(r'(\w+)="', labels)} <= set(watched.first(name)), series


@pytest.mark.slow
def test_prometheus_evaluates_each_alert_and_none_is_raised_where_all_is_well(watched: Watched) -> None:
    def rules() -> list[dict[str, Any]]:
        return [it for group in watched.prometheus.ask("rules")["groups"] for it in group["rules"]]

    eventually(lambda: all(it["health"] != "unknown" for it in rules()), WITHIN_S)
    assert {it["name"]: (it["health"], it.get("lastError", "")) for it in rules()} == {
        alert["alert"]: ("ok", "") for alert in ALERTS
    }
    eventually(lambda: all(it["state"] == "inactive" for it in rules()), WITHIN_S)


@pytest.mark.parametrize("by", ["kustomize", "helm"])
def test_the_service_monitor_finds_the_port_where_the_operator_tells_its_metrics(
    tmp_path: Path, by: str
) -> None:
    try:
        found = (
            kustomized(tmp_path, "monitoring") if by == "kustomize" else templated("monitoring.enabled=true")
        )
    except MissingError as missing:
        unavailable(missing)
    [monitor] = of_kind(found, "ServiceMonitor")
    [endpoint] = monitor["spec"]["endpoints"]
    wanted = monitor["spec"]["selector"]["matchLabels"]
    # No namespaceSelector: only Services of its own namespace count. The webhook's has no port of this name.
    assert set(monitor["spec"]) == {"selector", "endpoints"}
    services = [it for it in of_kind(found, "Service") if wanted.items() <= it["metadata"]["labels"].items()]
    assert {it["metadata"].get("namespace") for it in services} == {NAMESPACE}
    assert monitor["metadata"].get("namespace", NAMESPACE) == NAMESPACE
    [(service, port)] = [
        (it, port) for it in services for port in it["spec"]["ports"] if port["name"] == endpoint["port"]
    ]
    assert containers_port(found, service, port["targetPort"]) == 8080


def containers_port(found: Objects, service: dict[str, Any], name: str) -> int:
    """The port of this name of the pods that are behind the Service."""
    [deployment] = of_kind(found, "Deployment")
    template = deployment["spec"]["template"]
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    [container] = template["spec"]["containers"]
    [port] = [it["containerPort"] for it in container["ports"] if it["name"] == name]
    return int(port)
