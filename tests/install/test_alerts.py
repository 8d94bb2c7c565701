"""Each alert is raised when it should be, not when it should not, and leads to its page."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.binaries import MissingError, installed
from installation import ALERTS, GROUPS, ROOT
from unavailable import unavailable

CASES = sorted((Path(__file__).parent / "alerts").glob("*.yaml"))


def promtool(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """promtool's verdict on these rules, which are in the folder as Prometheus has them."""
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": GROUPS}))
    try:
        program = installed("promtool")
    except MissingError as missing:
        unavailable(missing)
    return subprocess.run(
        [program, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def test_prometheus_takes_the_rules(tmp_path: Path) -> None:
    done = promtool(tmp_path, "check", "rules", "--lint=all", "--lint-fatal", "rules.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(ALERTS)} rules found" in done.stdout


@pytest.mark.parametrize("cases", CASES, ids=lambda it: str(it.stem))
def test_alerts_are_raised_when_they_should_be(tmp_path: Path, cases: Path) -> None:
    (tmp_path / cases.name).write_text(cases.read_text())
    done = promtool(tmp_path, "test", "rules", cases.name)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_tried_when_it_should_be_raised_and_when_not() -> None:
    tried: dict[str, set[bool]] = {}
    for it in asked():
        tried.setdefault(it["alertname"], set()).add(bool(it["exp_alerts"]))
    assert tried == {alert["alert"]: {True, False} for alert in ALERTS}


def asked() -> list[dict[str, Any]]:
    """All that is asked of alerts in the cases."""
    files = [yaml.safe_load(it.read_text()) for it in CASES]
    return [it for file in files for test in file["tests"] for it in test["alert_rule_test"]]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_an_alert_leads_to_its_page(alert: dict[str, dict[str, str]]) -> None:
    page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    assert anchor == str(alert["alert"]).lower()
    assert str(alert["alert"]) in pages(ROOT / page)
    assert alert["labels"]["severity"] in ("warning", "critical")


def test_each_page_is_about_an_alert_that_there_is() -> None:
    assert pages(ROOT / "docs/runbooks.md") == [alert["alert"] for alert in ALERTS]


def pages(document: Path) -> list[str]:
    return re.findall(r"^## (\w+)$", document.read_text(), re.MULTILINE)
