"""Run the measurements, print a table, and write JSON beside it: ``python -m bench [NAME …]``."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

import bench
from bench.figure import Figure, machine

NAMES = ("startup", "arrival", "pipeline", "memory", "ledger")
BY_NAME = (
    "job",
    "controller",
    "distant",
    "tenants",
    "tenants_on_node",
    "http",
    "online",
    "publish",
    "events",
    "execution",
    "messages",
    "training",
    "training_build",
)
"""Measured only when asked for: they need a Kubernetes API server or a node, wrk or a Redis, or are of one reader."""


def main(names: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=bench.__doc__)
    parser.add_argument(
        "name",
        nargs="*",
        metavar="NAME",
        help=f"one of: {', '.join(NAMES + BY_NAME)}; else all but the last thirteen",
    )
    wanted = parser.parse_args(names).name
    if unknown := [name for name in wanted if name not in NAMES + BY_NAME]:
        parser.error(f"unknown: {', '.join(unknown)}. There is: {', '.join(NAMES + BY_NAME)}")
    console = Console()
    figures: list[Figure] = []
    for name in wanted or NAMES:
        with console.status(f"measuring {name}"):
            figures += importlib.import_module(f"bench.{name}").measure()
    facts = machine()
    console.print(_table(figures, facts))
    path = Path("bench/results") / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"machine": facts, "figures": [asdict(f) for f in figures]}, indent=2))
    console.print(f"written to {path}")
    return 0


def _table(figures: list[Figure], facts: dict[str, str | int]) -> Table:
    table = Table(caption=", ".join(f"{key} {value}" for key, value in facts.items()))
    for heading in ("question", "figure", "value", "goal", ""):
        table.add_column(heading, justify="right" if heading == "value" else "left")
    for figure in figures:
        verdict = {True: "[green]met[/]", False: "[red]missed[/]", None: ""}[figure.met]
        table.add_row(
            figure.question, figure.name, f"{figure.value:,.3g} {figure.unit}", figure.goal, verdict
        )
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
