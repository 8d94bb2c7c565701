"""The commands of ``kubectl featurestore``, their arguments, and their exit codes."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from typing import Any

from featurestore.cli.output import OutputFormat, dump
from featurestore.kubectl.cluster import Cluster, KubectlFailed
from featurestore.kubectl.condition_list import condition
from featurestore.kubectl.log_sections import logs_text
from featurestore.kubectl.tables import history_text, quarantine_text, status_table
from featurestore.kubectl.why import why
from featurestore.printable import printable

Object = dict[str, Any]
NOT_THERE, FAILED = 3, 75
_EPILOG = "Takes --context, --kubeconfig, --cluster, --user, --as, --as-group, --request-timeout as kubectl does; only reads."
_OF_KUBECTL = ("context", "kubeconfig", "cluster", "user", "as", "as-group", "request-timeout")
_NOUNS = {
    "store": "featurestore",
    "pipeline": "datapipeline",
    "view": "featureview",
    "service": "featureservice",
}
SHORT_NAMES = {
    **{"fs": "featurestore", "dp": "datapipeline", "fv": "featureview", "fsv": "featureservice"},
    **{"ts": "trainingset", "er": "erasure"},
}


def run(arguments: Sequence[str], now_us: int) -> int:
    """Print what is asked for. Returns the exit code."""
    asked = _parser().parse_args(arguments)
    cluster = Cluster(_options(asked))
    try:
        resources = cluster.resources(all_namespaces=asked.all_namespaces)
        print(printable(_text(asked, resources, cluster, now_us)))
        for refusal in cluster.refusals:
            print(printable(f"! not shown: {refusal}"), file=sys.stderr)
    except _NotThere as error:
        print(printable(f"✗ {error}"), file=sys.stderr)
        return NOT_THERE
    except KubectlFailed as error:
        print(printable(f"✗ {error}"), file=sys.stderr)
        return FAILED
    return 0


class _NotThere(Exception):
    """What is asked for is not there; the message says what is."""


def _text(asked: argparse.Namespace, resources: list[Object], cluster: Cluster, now_us: int) -> str:
    chosen = _chosen(resources, asked.name) if asked.name else resources
    if asked.command == "why":
        return "\n\n".join(
            why(resource, _beside(resource, resources), cluster, now_us) for resource in chosen
        )
    if asked.command == "history":
        return "\n\n".join(history_text(resource, cluster, now_us) for resource in chosen)
    if asked.command == "logs":
        return "\n\n".join(logs_text(resource, cluster, asked.batch) for resource in chosen)
    if asked.command == "quarantine":
        chosen = [resource for resource in chosen if resource["kind"] in ("DataPipeline", "FeatureView")]
        return quarantine_text(chosen, now_us, named=bool(asked.name))
    if asked.output:
        return dump([_plain(resource) for resource in chosen], OutputFormat(asked.output))
    return status_table(chosen, now_us, namespaces=asked.all_namespaces)


def _beside(resource: Object, resources: Sequence[Object]) -> list[Object]:
    namespace = resource["metadata"]["namespace"]
    return [resource for resource in resources if resource["metadata"]["namespace"] == namespace]


def _chosen(resources: Sequence[Object], text: str) -> list[Object]:
    """Those of that name; of ``KIND/NAME``, the one.

    Raises:
        _NotThere: there is none.
    """
    word, _, name = text.rpartition("/")
    kind = word.lower()
    kind = _NOUNS.get(kind.removesuffix("s"), SHORT_NAMES.get(kind, kind.removesuffix("s")))
    chosen = [
        resource
        for resource in resources
        if resource["metadata"]["name"] == name and kind in ("", resource["kind"].lower())
    ]
    if chosen:
        return chosen
    names = sorted(
        {resource["metadata"]["name"] for resource in resources if kind in ("", resource["kind"].lower())}
    )
    near = difflib.get_close_matches(name, names, 1)
    what = f"{kind or 'resource'} {name!r}"
    hint = f"Did you mean {near[0]!r}?" if near else f"There is: {', '.join(names[:20]) or 'nothing'}"
    raise _NotThere(f"there is no {what} in the namespace. {hint}")


def _plain(resource: Object) -> Object:
    """What a script asks for."""
    ready = condition(resource, "Ready")
    return {
        "kind": resource["kind"],
        "namespace": resource["metadata"]["namespace"],
        "name": resource["metadata"]["name"],
        "ready": ready.get("status") or "Unknown",
        "reason": ready.get("reason"),
        "message": ready.get("message"),
        "status": resource.get("status") or {},
    }


def _options(asked: argparse.Namespace) -> list[str]:
    """Of kubectl, as the user gave them."""
    options = [f"--{name}={value}" for name in _OF_KUBECTL for value in _given(asked, name)]
    if asked.namespace:
        options.append(f"--namespace={asked.namespace}")
    return options


def _given(asked: argparse.Namespace, name: str) -> list[str]:
    value = getattr(asked, name.replace("-", "_"))
    return value if isinstance(value, list) else [value] if value else []


def _of_kubectl(default: str | None) -> argparse.ArgumentParser:
    """Options that go before the command as well as after it."""
    parser = argparse.ArgumentParser(add_help=False)
    group = parser.add_argument_group("options of kubectl")
    group.add_argument("-n", "--namespace", help="instead of the current one", default=default)
    for name in _OF_KUBECTL:
        action = "append" if name == "as-group" else "store"
        group.add_argument(f"--{name}", help=argparse.SUPPRESS, action=action, default=default)
    return parser


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kubectl featurestore",
        description="How feature stores, pipelines, views and what is made of them stand, by what the API server says.",
        epilog=_EPILOG,
        parents=[_of_kubectl(None)],
    )
    of_kubectl = _of_kubectl(argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, about: str, *, needs_name: bool) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=about, description=about, parents=[of_kubectl], epilog=_EPILOG)
        one.add_argument("name", metavar="NAME", nargs=None if needs_name else "?", help="NAME or KIND/NAME")
        one.set_defaults(all_namespaces=False, output=None)
        return one

    status = command("status", "One line for each resource: ready, fresh, refused, wrong.", needs_name=False)
    status.add_argument("-A", "--all-namespaces", action="store_true", help="of the whole cluster")
    status.add_argument("-o", "--output", choices=["json"], help="for scripts")
    command("quarantine", "What was refused: how much is open, and by which rules.", needs_name=False)
    command("history", "The last batches, Jobs and Events.", needs_name=True)
    logs = command(
        "logs", "What was logged about a batch: by Jobs, and by workers that stay.", needs_name=True
    )
    logs.add_argument("--batch", type=int, metavar="NUMBER", help="of a pipeline, instead of the newest work")
    command("why", "On a page: what is wrong, since when, what was tried, what to do.", needs_name=True)
    return parser
