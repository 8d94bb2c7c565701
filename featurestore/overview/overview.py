"""All resources of a store at one time: how each stands, and what refers to what."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from featurestore.errors import Damaged, NotFound, SpecError
from featurestore.overview.summary import Summary, summary
from featurestore.registry.project import Project
from featurestore.resources.kinds import KINDS, ResourceKind, references

Key = tuple[str, str]
"""Kind and name of a resource."""

_AT_ONCE = 16
"""Resources that are looked at at the same time: in object storage each takes some round trips."""


@dataclass(frozen=True, slots=True)
class OverviewItem:
    """``summary``: None if it cannot be read, for the reason ``error``. ``names``: what it refers to."""

    kind: ResourceKind
    name: str
    summary: Summary | None
    error: str = ""
    names: tuple[Key, ...] = ()

    @property
    def key(self) -> Key:
        return self.kind.name, self.name


@dataclass(frozen=True)
class Overview:
    """``seen_us``: when it was so. ``items``: in the order of the table of kinds, and by name."""

    seen_us: int
    items: Mapping[Key, OverviewItem]

    def of(self, kind: ResourceKind) -> list[OverviewItem]:
        """The resources of a kind, by name."""
        return [item for item in self.items.values() if item.kind is kind]

    def only(self, keys: Collection[Key]) -> Overview:
        """The same without all other resources, and without what refers to them."""
        return replace(
            self,
            items={
                key: replace(item, names=tuple(each for each in item.names if each in keys))
                for key, item in self.items.items()
                if key in keys
            },
        )

    def users(self, key: Key) -> list[Key]:
        """What refers to the resource."""
        return [other for other, item in self.items.items() if key in item.names]

    def before(self, key: Key) -> set[Key]:
        """All that the resource is made of, by way of whatever."""
        return self._reached(key, lambda each: self.items[each].names if each in self.items else ())

    def after(self, key: Key) -> set[Key]:
        """All that is made of the resource, by way of whatever."""
        return self._reached(key, self.users)

    def _reached(self, key: Key, step: Callable[[Key], Iterable[Key]]) -> set[Key]:
        reached: set[Key] = set()
        todo = [key]
        while todo:
            for each in step(todo.pop()):
                if each not in reached and each in self.items:
                    reached.add(each)
                    todo.append(each)
        return reached - {key}


def look(project: Project, now_us: int) -> Overview:
    """How everything stands now. One resource that cannot be read hides no other.

    Raises:
        StorageError: storage did not answer.
    """
    kinds = [kind for kind in KINDS.values() if not kind.only_one]
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="look") as threads:
        names = threads.map(lambda kind: project.registry.names(kind.model), kinds)
        every = [(kind, name) for kind, listed in zip(kinds, names, strict=True) for name in listed]
        items = threads.map(lambda each: _item(project, *each), every)
        return Overview(now_us, {item.key: item for item in items if item is not None})


def _item(project: Project, kind: ResourceKind, name: str) -> OverviewItem | None:
    try:
        summarized = summary(project, kind, name)
    except NotFound:
        return None  # It was deleted since it was listed.
    except (Damaged, SpecError) as error:
        return OverviewItem(kind, name, None, str(error))
    named = tuple(dict.fromkeys((other, each) for other, _, each in references(summarized.accepted.resource)))
    return OverviewItem(kind, name, summarized, names=named)
