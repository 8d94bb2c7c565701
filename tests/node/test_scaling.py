"""Feature servers become more under load, fewer when it ends, and no request fails meanwhile: by CPU, and by requests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cluster.binaries import MissingError
from cluster.metrics_apis import metrics_server, prometheus_metrics
from cluster.node import Node
from conditions import Object
from eventually import eventually
from prometheus import Prometheus, prometheus
from served_store import BETWEEN_S, SERVERS, load, pods, serve, status, trouble
from tenant import Tenant
from unavailable import unavailable

PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
[RULES] = re.findall(r"^```yaml\n(rules:\n.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
BOUNDS = {"min": 1, "max": 2}
OTHER_S = 0.5
"""Between the reads of a program that goes on when the load has ended, and is none itself."""
WITHIN_S = 240

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Counts:
    """Requests of servers, as a Prometheus counts them. ``targets``: the file that says whom it scrapes."""

    prometheus: Prometheus
    targets: Path

    def scrape(self, tenant: Tenant) -> None:
        """From now on the servers that the tenant has now, with the labels that the ServiceMonitor of the page gives."""
        # Prometheus of Debian is built without what finds pods by itself.
        servers = [
            {
                "targets": [f"{pod['status']['podIP']}:6566"],
                "labels": {"namespace": tenant.namespace, "pod": pod["metadata"]["name"]},
            }
            for pod in tenant.all("pod", SERVERS)
            if "podIP" in pod["status"]
        ]
        written = self.targets.with_suffix(".new")
        written.write_text(json.dumps(servers))
        written.replace(self.targets)

    def answered(self, tenant: Tenant) -> dict[str, float]:
        """How many reads each server has answered, by the names of their pods."""
        of_reads = f'namespace="{tenant.namespace}",route="read_features"'
        query = f"sum by (pod) (featurestore_server_request_seconds_count{{{of_reads}}})"
        series = self.prometheus.ask("query", query=query)["result"]
        return {each["metric"]["pod"]: float(each["value"][1]) for each in series}


@pytest.fixture(scope="module")
def counts(cluster: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counts]:
    """Beside APIs that tell autoscalers the CPU of pods, and requests of servers by the rule of the page."""
    folder = tmp_path_factory.mktemp("metrics")
    targets = folder / "servers.json"
    by_file = {"files": [str(targets)], "refresh_interval": "1s"}
    job = {"job_name": "servers", "file_sd_configs": [by_file]}
    scraped = {"global": {"scrape_interval": "2s"}, "scrape_configs": [job]}
    try:
        with (
            prometheus(folder / "prometheus", scraped) as counting,
            metrics_server(cluster, folder),
            prometheus_metrics(cluster, folder, counting, RULES),
        ):
            yield Counts(counting, targets)
    except MissingError as missing:
        unavailable(missing)


def decisions(tenant: Tenant) -> list[str]:
    """What the autoscaler has done, and why."""
    events = tenant.kubectl("get", "events", "--field-selector=reason=SuccessfulRescale", "--output=json")
    return [event["message"] for event in json.loads(events)["items"]]


@pytest.mark.parametrize(
    ("serving", "between_s", "why"),
    [
        pytest.param(
            {"replicas": BOUNDS, "template": {"cpu": "40m"}},
            BETWEEN_S,
            "cpu resource utilization (percentage of request) above target",
            id="CPU",
        ),
        pytest.param(
            {"replicas": {**BOUNDS, "requestsPerSecond": 10}},
            0.05,  # Some 50 reads a second, which take little of half a processor.
            "pods metric feature_requests_per_second above target",
            id="requests",
        ),
    ],
)
def test_servers_become_more_under_load_and_fewer_after_it_and_no_request_fails(
    tenant: Tenant, s3: dict[str, str], counts: Counts, serving: Object, between_s: float, why: str
) -> None:
    def are_ready(number: int) -> bool:
        counts.scrape(tenant)
        return len(pods(tenant)) == number == status(tenant).get("readyReplicas")

    def answered() -> float:
        """By the server that has answered least."""
        reads = counts.answered(tenant)
        return min(reads.get(pod, 0) for pod in pods(tenant))

    answer = serve(tenant, s3, serving)
    with load(tenant, answer, programs=1, between_s=OTHER_S) as others:
        with load(tenant, answer, between_s=between_s) as loads:
            eventually(lambda: are_ready(2), WITHIN_S, lambda: trouble(tenant))
            assert f"New size: 2; reason: {why}" in decisions(tenant)
            # Programs that keep their connections meet the new one, too.
            eventually(
                lambda: answered() > 50, WITHIN_S, lambda: f"{counts.answered(tenant)} {trouble(tenant)}"
            )
        eventually(lambda: are_ready(1), WITHIN_S, lambda: trouble(tenant))
        assert "New size: 1; reason: All metrics below target" in decisions(tenant)
        before = others[0].reads
        eventually(lambda: others[0].reads > before + 5 or others[0].wrong, WITHIN_S)
    assert [it for each in (*loads, *others) for it in each.wrong] == []
    print(f"{sum(each.reads for each in (*loads, *others))} reads")
