"""Run where OpenLineage's client is: its classes take each event, of which those that they know are printed as JSON.

``python openlineage_check.py EVENTS``: lines of JSON. With ``--emit`` the client sends the first as well.
"""

# mypy: ignore-errors
from __future__ import annotations

import importlib
import json
import pkgutil
import sys
import typing
from pathlib import Path

import attr
import openlineage.client.generated as generated
from openlineage.client import OpenLineageClient
from openlineage.client.generated.base import EventType, InputDataset, Job, OutputDataset, Run, RunEvent

CLASSES = {
    name: it
    for module in pkgutil.iter_modules(generated.__path__)
    for name, it in vars(importlib.import_module(f"openlineage.client.generated.{module.name}")).items()
    if isinstance(it, type) and attr.has(it)
}


def made(kind, said):
    """An object of the client's class: a field that it has not, or lacks, is an error; so are those inside of it."""
    hints = typing.get_type_hints(kind)
    return kind(**{name: value(hints[name], it) for name, it in said.items()})


def value(hint, said):
    inner = [it for it in typing.get_args(hint) if it is not type(None)]
    if typing.get_origin(hint) is list:
        return [value(inner[0], it) for it in said]
    if typing.get_origin(hint) is dict:
        return {name: value(inner[1], it) for name, it in said.items()}
    if inner:
        return value(inner[0], said)
    if attr.has(hint):
        return made(hint, said)
    assert isinstance(said, hint), (hint, said)
    return said


def facets(said):
    found = {}
    for name, content in said.items():
        kind = CLASSES[content["_schemaURL"].rpartition("/")[2]]
        rest = {key: it for key, it in content.items() if not key.startswith("_")}
        found[name] = made(kind, rest)
        assert kind._get_schema() == content["_schemaURL"], (kind._get_schema(), content["_schemaURL"])
        assert content["_producer"]
    return found


def dataset(kind, said, own):
    rest = {own: facets(said.get(own, {}))}
    return kind(namespace=said["namespace"], name=said["name"], facets=facets(said["facets"]), **rest)


def event(said):
    made_event = RunEvent(
        eventTime=said["eventTime"],
        producer=said["producer"],
        eventType=EventType[said["eventType"]],
        run=Run(runId=said["run"]["runId"], facets=facets(said["run"]["facets"])),
        job=Job(
            namespace=said["job"]["namespace"], name=said["job"]["name"], facets=facets(said["job"]["facets"])
        ),
        inputs=[dataset(InputDataset, it, "inputFacets") for it in said["inputs"]],
        outputs=[dataset(OutputDataset, it, "outputFacets") for it in said["outputs"]],
    )
    assert made_event.schemaURL == said["schemaURL"]
    assert set(said) == {"eventTime", "producer", "schemaURL", "eventType", "run", "job", "inputs", "outputs"}
    return made_event


def main(path, *options):
    events = [event(json.loads(line)) for line in Path(path).read_text().splitlines()]
    if "--emit" in options:
        OpenLineageClient().emit(events[0])
    print(json.dumps([f"{it.eventType.name} {it.job.name}" for it in events]))


if __name__ == "__main__":
    main(*sys.argv[1:])
