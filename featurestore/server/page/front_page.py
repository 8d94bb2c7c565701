"""``/``: what is wrong, and everything there is, found by name, tag and owner."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode

from featurestore.humanize import age
from featurestore.overview.concern import Severity, concerns, mark
from featurestore.overview.overview import OverviewItem
from featurestore.overview.summary import ListSummary, PipelineSummary, ViewSummary
from featurestore.resources import View
from featurestore.resources.kinds import ResourceKind
from featurestore.resources.outputs import outputs
from featurestore.server.page.rendering import html_reply
from featurestore.server.page.visible_store import PLACES, VisibleStore, page, place, see
from featurestore.server.route import HttpRequest, Reply
from featurestore.timestamps import SECOND_US, current_us, parse_us

_MOST_CONCERNS = 12
_ORDER = ("views", "services", "pipelines")
_MOST_FIELDS = 20


@dataclass(frozen=True, slots=True)
class FoundResource:
    """A line of the catalogue. ``cells``: what stands beside its name. ``words``: what it is found by, in small letters."""

    name: str
    link: str
    mark: str
    description: str
    owner: str
    tags: dict[str, str]
    cells: tuple[str, ...]
    words: str


@dataclass(frozen=True, slots=True)
class KindTable:
    """The resources of one kind that were found, of ``of_all``."""

    kind: ResourceKind
    header: tuple[str, ...]
    rows: tuple[FoundResource, ...]
    of_all: int


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for. ``tag``: a name, or ``name=value``."""

    text: str = ""
    owner: str = ""
    tag: str = ""

    @classmethod
    def of(cls, query: str) -> Search:
        """The one that stands in an address."""
        fields = parse_qs(query, errors="replace", max_num_fields=_MOST_FIELDS)
        parameters = {name: values[-1] for name, values in fields.items()}
        return cls(parameters.get("q", "").strip(), parameters.get("owner", ""), parameters.get("tag", ""))

    def finds(self, item: FoundResource) -> bool:
        if self.owner and item.owner != self.owner:
            return False
        name, equals, value = self.tag.partition("=")
        if name and (name not in item.tags or (equals and item.tags[name] != value)):
            return False
        return all(word in item.words for word in self.text.lower().split())

    def __bool__(self) -> bool:
        return bool(self.text or self.owner or self.tag)

    def link(self, **changed: str) -> str:
        """The address of another search."""
        parameters = {"q": self.text, "owner": self.owner, "tag": self.tag, **changed}
        query = urlencode({name: value for name, value in parameters.items() if value}, errors="replace")
        return f"/?{query}" if query else "/"


def _make(request: HttpRequest) -> Reply:
    visible = see(request)
    try:
        search = Search.of(request.query)
    except ValueError:
        search = Search()  # More fields than any form of ours has.
    now_us = current_us()
    every = concerns(visible.overview, visible.unreadable_online)
    wrong = [concern for concern in every if concern.severity is not Severity.WAITING]
    waiting = [concern.item for concern in every if concern.severity is Severity.WAITING]
    kinds = sorted(
        PLACES.values(), key=lambda kind: _ORDER.index(kind.folder) if kind.folder in _ORDER else 9
    )
    tables = [_table(visible, kind, search, now_us) for kind in kinds]
    return html_reply(
        request,
        "front.html",
        search=search,
        tables=[table for table in tables if table.of_all],
        concerns=[(each, place(each.item)) for each in wrong[:_MOST_CONCERNS]],
        waiting=[(item, place(item)) for item in waiting[:_MOST_CONCERNS]],
        more_waiting=max(0, len(waiting) - _MOST_CONCERNS),
        more_concerns=max(0, len(wrong) - _MOST_CONCERNS),
        overview=visible.overview,
    )


def _table(visible: VisibleStore, kind: ResourceKind, search: Search, now_us: int) -> KindTable:
    items = visible.overview.of(kind)
    rows = [row for row in (_found_resource(visible, item, now_us) for item in items) if search.finds(row)]
    return KindTable(kind, _header(kind), tuple(rows), len(items))


def _header(kind: ResourceKind) -> tuple[str, ...]:
    if kind.folder == "pipelines":
        return ("Batches", "Rows", "In quarantine", "Last batch")
    if kind.model is View:
        return ("Entity", "Features", "Rows", "Freshness")
    return tuple(column.name for column in kind.columns)


def _found_resource(visible: VisibleStore, item: OverviewItem, now_us: int) -> FoundResource:
    summary, standing = item.summary, mark(visible.overview, item, visible.unreadable_online)
    if summary is None:
        blank = ("–",) * len(_header(item.kind))
        return FoundResource(item.name, place(item), standing, "It cannot be read.", "", {}, blank, item.name)
    spec = summary.accepted.resource.spec
    description, owner = getattr(spec, "description", ""), getattr(spec, "owner", "")
    tags = dict(getattr(spec, "tags", {}))
    features = [output.name for output in outputs(spec)] if item.kind.model is View else []
    words = [item.name, description, owner, *(f"{name}={value}" for name, value in tags.items()), *features]
    text = " ".join(words).lower()
    return FoundResource(
        item.name, place(item), standing, description, owner, tags, _cells(item, now_us), text
    )


def _cells(item: OverviewItem, now_us: int) -> tuple[str, ...]:
    summary = item.summary
    if isinstance(summary, PipelineSummary):
        last = summary.last
        return (
            f"{summary.done:,}",
            f"{last.dataset_rows:,}" if last else "–",
            str(summary.quarantine) if summary.quarantine else "–",
            _since(last.finished_us if last else None, now_us),
        )
    if isinstance(summary, ViewSummary):
        spec = summary.accepted.resource.spec
        rows = f"{summary.build.rows:,}" if summary.build else "–"
        return (spec.entity.name, f"{len(outputs(spec)):,}", rows, _since(summary.watermark_us, now_us))
    assert summary is not None
    if isinstance(summary, ListSummary) and item.kind.model is View:
        features = f"{len(outputs(summary.accepted.resource.spec)):,}"
        return ("on demand", features, "–", _since(summary.watermark_us, now_us))
    fields = summary.to_dict()
    return tuple(_printed(fields, column.path, column.type, now_us) for column in item.kind.columns)


def _printed(fields: Any, path: str, kind: str, now_us: int) -> str:
    """What a printer column of the kind shows."""
    value: Any = fields
    for part in path.strip(".").split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        return "–"
    if kind == "date":
        with suppress(ValueError):  # Python has no times outside the years 1 to 9999.
            return _since(parse_us(value), now_us)
    return f"{value:,}" if isinstance(value, int) else str(len(value) if isinstance(value, list) else value)


def _since(us: int | None, now_us: int) -> str:
    return "–" if us is None else age((now_us - us) / SECOND_US)


PAGE = page("/", "page_front", "What is wrong, and everything there is", _make)
