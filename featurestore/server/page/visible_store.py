"""What a caller may see of a store: the views that they may read, the services of these alone, what else they may get."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from featurestore.overview.overview import Key, Overview, OverviewItem
from featurestore.overview.summary import ListSummary
from featurestore.resources import FeatureService, TrainingSet, View
from featurestore.resources.kinds import KINDS, ResourceKind, kind_of
from featurestore.server.page.page_token import page_token
from featurestore.server.page.problem_page import page_problem
from featurestore.server.problem_details import HttpProblem
from featurestore.server.route import HttpRequest, Reply, Route

VIEW, SERVICE, TRAINING_SET = kind_of(View), kind_of(FeatureService), kind_of(TrainingSet)
PLACES = {kind.folder: kind for kind in KINDS.values() if not kind.only_one}
"""Kinds by the first part of the address of one."""


@dataclass(frozen=True, slots=True)
class VisibleStore:
    """``overview``: of what may be seen. ``unreadable_online``: views that this server could not read.

    ``is_guarded``: there may be more.
    """

    overview: Overview
    unreadable_online: frozenset[str]
    is_guarded: bool

    def item(self, kind: ResourceKind, name: str) -> OverviewItem:
        """The resource.

        Raises:
            HttpProblem: there is none, or it may not be seen: the two are not told apart (404).
        """
        item = self.overview.items.get((kind.name, name))
        if item is None:
            qualifier = " that you may see" if self.is_guarded else ""
            raise HttpProblem(HTTPStatus.NOT_FOUND, f"there is no {kind.noun} {name!r}{qualifier}")
        return item


def see(request: HttpRequest) -> VisibleStore:
    """What the caller may see. Called in a thread: it may wait for storage and for the API server.

    Raises:
        HttpProblem: it cannot be found out what they may see (503).
        StorageError: storage did not answer.
    """
    overview = request.backend.lookout.overview()
    waiting = frozenset(request.backend.readiness.last.waiting_for)
    if not request.backend.authenticator.asks:
        return VisibleStore(overview, waiting, False)
    visible: set[Key] = set()
    for kind in PLACES.values():
        items = overview.of(kind)
        if kind is SERVICE:
            # As the API has it: whoever may read all of its views.
            visible |= {
                item.key
                for item in items
                if item.summary is not None and _views(overview, item.key) <= visible | {item.key}
            }
        else:
            names = [item.name for item in items]
            may = request.backend.authenticator.readable(request.caller, names, kind.plural)
            visible |= {(kind.name, name) for name in may}
    return VisibleStore(overview.only(visible), waiting, True)


def _views(overview: Overview, key: Key) -> set[Key]:
    """The views that a service takes, also those that these are computed from."""
    reached = set(overview.items[key].names)
    for each in list(reached):
        item = overview.items.get(each)
        if item is not None and isinstance(item.summary, ListSummary):
            reached |= _views(overview, each)
    return reached


def place(item: OverviewItem) -> str:
    """Where its page is."""
    return f"/{item.kind.folder}/{item.name}"


def page(path: str, name: str, summary: str, make: Callable[[HttpRequest], Reply]) -> Route:
    """The route of a page that is made in a thread."""

    async def answer(request: HttpRequest) -> Reply:
        return await request.backend.run(make, request)

    return Route("GET", path, name, summary, answer, is_page=True, token=page_token, tell=page_problem)
