"""Alerts and dashboard name metrics and labels that there are, and each alert has its page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache

import pytest
import yaml
from installation import CHART, ROOT

from featurestore_operator.cache import Cache
from featurestore_operator.key import Key
from featurestore_operator.metrics import PREFIX, Metrics
from featurestore_operator.resource import OF_KIND

RULES = yaml.safe_load((CHART / "monitoring/rules.yaml").read_text())
ALERTS = [rule for group in RULES["spec"]["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((CHART / "monitoring/dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
STATUS = {
    "watermark": "2013-01-01T00:00:00Z",
    "oldestPendingTime": "2013-01-01T00:00:00Z",
    "rows": 1,
    "pendingFiles": 1,
    "batch": 1,
}


@cache
def series() -> dict[str, frozenset[str]]:
    """All series of an operator that has seen everything once, and their labels."""
    known = Cache(lambda *_: None)
    for kind, resource in OF_KIND.items():
        metadata = {"namespace": "prod", "name": "a", "uid": kind, "resourceVersion": "1"}
        spec = {"source": {"pipeline": "a"}} if kind == "FeatureView" else {}
        known.put(
            resource,
            {
                "apiVersion": resource.api_version,
                "kind": kind,
                "metadata": metadata,
                "spec": spec,
                "status": STATUS,
            },
        )
    metrics = Metrics()
    pipeline = Key("DataPipeline", "prod", "a")
    metrics.handled(pipeline, 0.1, ValueError())
    metrics.called("get", "jobs", 200, 0.1)
    metrics.begin(pipeline)
    metrics.batch_committed(pipeline, 1, 1, 1)
    metrics.read(known, lambda: {"waiting": 0}, lambda: True)
    samples = [sample for family in metrics.registry.collect() for sample in family.samples]
    return {sample.name: frozenset(sample.labels) for sample in samples}


def queries() -> Iterator[tuple[str, str]]:
    for alert in ALERTS:
        yield alert["alert"], alert["expr"]
    for panel in PANELS:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["label"], variable["query"]["query"]


@pytest.mark.parametrize(("where", "query"), [pytest.param(*it, id=it[0]) for it in queries()])
def test_a_query_names_only_series_and_labels_that_there_are(where: str, query: str) -> None:
    names = set(re.findall(rf"{PREFIX}\w+", query))
    assert names
    assert names <= set(series())
    there = frozenset().union(*(series()[name] for name in names))
    made = frozenset(re.findall(r'label_replace\([^"]*"[^"]*"[^"]*, "(\w+)"', query))
    groups = re.findall(r"\b(?:by|on) \(([^)]*)\)", query)
    asked = {label.strip() for group in groups for label in group.split(",")}
    matched = {
        label for part in re.findall(r"\{([^}]*)\}", query) for label in re.findall(r"(\w+)[!=]", part)
    }
    assert asked | matched <= there | made
    assert query.count("(") == query.count(")")


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_an_alert_says_what_is_wrong_and_leads_to_its_page(alert: dict[str, dict[str, str]]) -> None:
    page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    headings = re.findall(r"^## (\w+)$", (ROOT / page).read_text(), re.MULTILINE)
    assert anchor in [heading.lower() for heading in headings]
    assert str(alert["alert"]) in headings
    assert alert["labels"]["severity"] in ("warning", "critical")
    assert alert["annotations"]["summary"].endswith(".")
    for label in re.findall(r"\$labels\.(\w+)", alert["annotations"]["summary"]):
        assert re.search(rf"by \([^)]*\b{label}\b", str(alert["expr"]))


def test_each_page_is_about_an_alert_that_there_is() -> None:
    headings = re.findall(r"^## (\w+)$", (ROOT / "docs/runbooks.md").read_text(), re.MULTILINE)
    assert headings == [alert["alert"] for alert in ALERTS]


def test_the_dashboard_is_one_that_grafana_loads() -> None:
    assert DASHBOARD["uid"]
    assert DASHBOARD["title"]
    assert DASHBOARD["schemaVersion"] >= 36
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers))
    for panel in PANELS:
        assert panel["type"] in ("stat", "timeseries")
        assert panel["description"].endswith(".")
        assert {target["refId"] for target in panel["targets"]} <= set("ABCDEFGH")
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_panels_do_not_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
