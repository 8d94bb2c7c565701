"""``featurestore doctor``: what has to work, whether it does, and what to do if not."""

from __future__ import annotations

import importlib.util
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice

from rich.console import Console
from rich.text import Text

from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.source_kinds import open_source
from featurestore.cli import integrity
from featurestore.cli.output import OutputFormat, dump, listing
from featurestore.errors import FeatureStoreError, foreseen
from featurestore.humanize import count
from featurestore.online.index import open_index
from featurestore.overview.summary import list_summary
from featurestore.printable import printable
from featurestore.reconcile.conditions import read_status
from featurestore.reconcile.reasons import Reason
from featurestore.reconcile.reconcile import PLANNED
from featurestore.registry.project import Project
from featurestore.registry.registry import Accepted
from featurestore.resources import DataPipeline, FeatureView, OnDemandView, View
from featurestore.resources.feature_view import OnlineEnabled
from featurestore.resources.kinds import KINDS, ResourceKind
from featurestore.resources.status import ConditionStatus
from featurestore.storage import paths
from featurestore.storage.cloud_credentials import is_azure, is_google
from featurestore.storage.credentials import is_s3, source_environ
from featurestore.timestamps import SECOND_US, current_us
from featurestore.views.builds import read_active_build, read_build

_EXTRAS = {
    "transforms": ("polars", "to run pipelines and views on this machine"),
    "redis": ("redis", "for an online store in Redis, and streams of Redis as sources"),
    "s3": ("s3fs", "for storage and sources in S3"),
    "gcs": ("obstore", "for storage and sources in Google Cloud Storage"),
    "azure": ("obstore", "for storage and sources in Azure Blob Storage"),
    "kafka": ("confluent_kafka", "for topics of Kafka as sources"),
    "nats": ("nats", "for streams of NATS as sources"),
    "iceberg": ("fastavro", "for Iceberg tables as sources"),
    "sql": ("psycopg", "for tables of PostgreSQL as sources"),
}
_ENOUGH_ARRIVALS = 1000
HOUR_US = 3600 * SECOND_US
_STUCK_US = HOUR_US


@dataclass(frozen=True)
class Finding:
    """``works``: None for what is absent and not needed here."""

    what: str
    works: bool | None
    message: str
    hint: str = ""


def doctor(project: Project, form: OutputFormat | None = None) -> bool:
    """Print all findings; False if something that is needed does not work."""
    if form in (OutputFormat.JSON, OutputFormat.YAML):
        findings = list(examine(project))
        print(dump(listing([asdict(finding) for finding in findings]), form))
        return all(finding.works is not False for finding in findings)
    console = Console(highlight=False, soft_wrap=True)
    healthy = True
    for finding in examine(project):
        mark, style = {True: ("✓", "green"), False: ("✗", "red"), None: ("–", "dim")}[finding.works]
        console.print(Text.assemble((mark, style), printable(f" {finding.what}: {finding.message}")))
        if finding.hint:
            console.print(Text(printable(f"    → {finding.hint}")))
        healthy = healthy and finding.works is not False
    return healthy


def examine(project: Project) -> Iterator[Finding]:
    """Findings along the way of the data. Without storage there is nothing more to look at."""
    yield Finding("python", True, f"{sys.version.split()[0]} in {sys.prefix}")
    for extra in _EXTRAS:
        yield _extra(extra, project)
    storage = _finding("storage", partial(_storage, project))
    yield storage
    if not storage.works:
        return
    pipelines, views = project.registry.all(DataPipeline), project.registry.all(FeatureView)
    for kind in KINDS.values():
        if not kind.only_one:
            for name, error in project.registry.unreadable(kind.model).items():
                yield Finding(f"{kind.noun} {name}", False, str(error), error.hint)
    if not pipelines:
        yield Finding("registry", True, "nothing has been applied yet", "`featurestore apply -f .` does it")
    for name in project.registry.names(DataPipeline):
        if name in pipelines:
            yield _finding(f"source of pipeline {name}", partial(_source, project, pipelines[name]))
        # What is stored is looked at also of one whose definition is damaged.
        yield _finding(f"ledger of pipeline {name}", partial(integrity.ledger, project, name))
        for what, path in (
            ("dataset", paths.dataset(name)),
            ("quarantine", paths.quarantine("pipelines", name)),
        ):
            hint = integrity.restore(path)
            noun = "record" if what == "quarantine" else "row"
            yield _finding(f"{what} of pipeline {name}", partial(integrity.table, project, path, hint, noun))
        yield from _rebuild(project, name)
        if name in pipelines:
            yield from _problems(project, "pipelines", name, pipelines[name].digest)
    online = _finding("online store", partial(_online, project))
    yield online
    for name, view in views.items():
        yield _finding(f"view {name}", partial(_view, project, name, view))
        yield from _stored(project, name, view, online=online.works is True)
        yield from _problems(project, "views", name, view.digest)
    for planned in PLANNED.values():
        if planned.observe is not None:
            yield from _made(project, planned.row)
    yield from _lists(project)


def _made(project: Project, kind: ResourceKind) -> Iterator[Finding]:
    """What is made of resources of a kind that has no line of its own: how they stand, and what fails."""
    for name, accepted in project.registry.all(kind.model).items():
        yield _finding(f"{kind.noun} {name}", partial(_stands, project, kind, name))
        yield from _problems(project, kind.folder, name, accepted.digest)


def _stands(project: Project, kind: ResourceKind, name: str) -> tuple[bool | None, str, str]:
    ready = list_summary(project, kind, name).ready
    # What fails has a line of its own.
    return (True if ready.status is ConditionStatus.TRUE else None), ready.message, ""


def _lists(project: Project) -> Iterator[Finding]:
    """Services and views on demand: what they name says how they stand."""
    for kind in KINDS.values():
        if not (kind.sums_up or kind.model is View):
            continue
        for name, accepted in project.registry.all(kind.model).items():
            if kind.sums_up or isinstance(accepted.resource, OnDemandView):
                yield _finding(f"{kind.noun} {name}", partial(_list, project, kind, name))


def _list(project: Project, kind: ResourceKind, name: str) -> tuple[bool | None, str, str]:
    ready = list_summary(project, kind, name).ready
    if ready.status is ConditionStatus.TRUE:
        return True, ready.message, ""
    # What it waits for has a line of its own.
    return None if ready.reason == Reason.WAITING else False, ready.message, ""


def _stored(project: Project, name: str, view: Accepted[FeatureView], *, online: bool) -> Iterator[Finding]:
    """What stands of the build that serves: its rows, its quarantine, and what is online. Nothing before there is one."""
    try:
        serving = read_active_build(project.storage, name)
        build = read_build(project.storage, name, serving.digest) if serving else None
    except FeatureStoreError:
        return  # It is told already.
    if serving is None or build is None:
        return
    for what, path in (
        ("rows", paths.features(name, serving.digest)),
        ("quarantine", paths.rejected_rows(name, serving.digest)),
    ):
        again = f"`featurestore rebuild view {name}` makes it again from the dataset"
        noun = "record" if what == "quarantine" else "row"
        yield _finding(f"{what} of view {name}", partial(integrity.table, project, path, again, noun))
    if online and view.resource.spec.online.enabled is not OnlineEnabled.NEVER:
        yield _finding(f"online values of view {name}", partial(integrity.held, project, name, build))


def _problems(project: Project, kind: str, name: str, digest: str) -> Iterator[Finding]:
    """What a runner last found wrong with the resource as it is accepted now."""
    try:
        status = read_status(project.storage, kind, name)
    except FeatureStoreError as error:
        yield Finding(f"status of {kind.removesuffix('s')} {name}", False, str(error), error.hint)
        return
    if status is not None and status.observed_digest == digest:
        for problem in status.problems:
            works = None if problem.type == "QuarantineEmpty" else False
            yield Finding(f"{kind.removesuffix('s')} {name}: {problem.type}", works, problem.message)


def _finding(what: str, look: Callable[[], tuple[bool | None, str, str]]) -> Finding:
    try:
        works, message, hint = look()
    except Exception as error:  # noqa: BLE001 - whatever does not work is a finding
        known = foreseen(error)
        return Finding(what, False, str(known), known.hint)
    return Finding(what, works, message, hint)


def _extra(name: str, project: Project) -> Finding:
    package, purpose = _EXTRAS[name]
    what = f"extra [{name}]"
    if importlib.util.find_spec(package) is not None:
        return Finding(what, True, "installed")
    sources = [accepted.resource.spec.source for accepted in project.registry.all(DataPipeline).values()]
    places = [project.storage.root, *(source.place for source in sources)]
    needed = {
        "transforms": True,
        "redis": project.store.spec.online.redis is not None or any(source.redis for source in sources),
        "s3": any(is_s3(place) for place in places),
        "gcs": any(is_google(place) for place in places),
        "azure": any(is_azure(place) for place in places),
        "kafka": any(source.kafka for source in sources),
        "nats": any(source.nats for source in sources),
        "iceberg": any(source.iceberg for source in sources),
        "sql": any(source.sql for source in sources),
    }[name]
    hint = f"pip install 'featurestore[{name}]'"
    return Finding(what, False if needed else None, f"not installed; it is {purpose}", hint if needed else "")


def _storage(project: Project) -> tuple[bool, str, str]:
    """Storage is reachable, and of two who write the same object exactly one is first."""
    storage = project.storage
    path = f"registry/doctor-{uuid.uuid4().hex}"
    try:
        first, second = storage.put_if_absent(path, b"1"), storage.put_if_absent(path, b"2")
        kept = storage.read(path)
    finally:
        storage.delete(path)
    if (first, second, kept) == (True, False, b"1"):
        return True, f"{storage.root} can be read and written, and lets only the first of two writers win", ""
    hint = (
        "Use storage with conditional writes (If-None-Match): without them two runners may do a batch twice"
    )
    return False, f"{storage.root} lets a second writer replace what the first one put", hint


def _source(project: Project, pipeline: Accepted[DataPipeline]) -> tuple[bool | None, str, str]:
    spec = pipeline.resource.spec.source
    source = open_source(spec, str(project.folder), source_environ())
    arrivals = sum(1 for _ in islice(source.arrivals(), _ENOUGH_ARRIVALS))
    if not arrivals:
        return None, f"{spec.place} names no {source.noun} yet", source.explain_empty()
    more = " or more" if arrivals == _ENOUGH_ARRIVALS else ""
    return True, f"{spec.place} names {count(arrivals, source.noun)}{more}", ""


def _rebuild(project: Project, name: str) -> Iterator[Finding]:
    """How far a rebuild has come; one of which nothing was done for long is stuck."""
    ledger = Ledger(project.storage, name)
    what = f"rebuild of pipeline {name}"

    def look() -> tuple[bool, str, str]:
        at = ledger.rebuild_progress()
        if at is None:
            return True, "none is under way", ""
        ran = [batch.ended_us for _, batch in ledger.rebuilds.batches(at.rebuild.number)]
        rest_us = current_us() - max([at.rebuild.created_us, *ran])
        if rest_us < _STUCK_US:
            return True, str(at), ""
        hint = (
            f"Start `featurestore run`; see `featurestore describe pipeline {name}`, or give it up: "
            f"`featurestore rebuild pipeline {name} --cancel`"
        )
        return False, f"{at}; nothing was done for {rest_us / HOUR_US:,.1f} hours", hint

    try:
        under_way = ledger.rebuilds.open() is not None
    except FeatureStoreError as error:
        yield Finding(what, False, str(error), error.hint)
        return
    if under_way:
        yield _finding(what, look)


def _online(project: Project) -> tuple[bool, str, str]:
    store = (project.registry.store() or project.store).spec
    index = open_index(project.storage, store)
    index.instance_id()
    return True, index.address, ""


def _view(project: Project, name: str, view: Accepted[FeatureView]) -> tuple[bool, str, str]:
    """Offline and online hold the same commit, of the accepted definition."""
    start = "`featurestore run` brings it up to date"
    serving = read_active_build(project.storage, name)
    if serving is None:
        return True, "nothing is served yet", start
    build = read_build(project.storage, name, serving.digest)
    if build is None:
        return False, f"build {serving.digest} serves and has no record", start
    if view.resource.spec.online.enabled is OnlineEnabled.NEVER:
        return True, f"serves commit {build.source_version} of its dataset offline", ""
    store = (project.registry.store() or project.store).spec
    held = open_index(project.storage, store).version(name, serving.digest)
    if held is None or held.version != build.version:
        got = "nothing" if held is None else f"version {held.version}"
        return False, f"offline is at version {build.version}, online holds {got}", start
    if serving.spec_digest != view.digest:
        return True, "serves the definition before the accepted one", start
    return True, f"offline and online serve commit {build.source_version} of its dataset", ""
