"""What a request for features comes to: which views are read by which keys, and what each column of the result is.

::

    ["weather:temp", "weather:wind", "delays:mean"]
        reads    weather (airport) → temp, wind;  delays (tailnum) → mean
        columns  temp = 0: temp,  wind = 0: wind,  mean = 1: mean

Whoever reads, offline or online, answers each of ``reads`` in its order; a column is an output of one of the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from featurestore.client.references import parse_references
from featurestore.errors import RequestError
from featurestore.resources.outputs import Output
from featurestore.resources.value import KeyType
from featurestore.views.served import ServedView


@dataclass(frozen=True, slots=True)
class ViewRead:
    """Outputs of one view, by one set of keys. ``keys``: the entities' column of each join key, in the view's order."""

    view: ServedView
    keys: tuple[str, ...]
    outputs: tuple[Output, ...]

    @property
    def key_types(self) -> dict[str, KeyType]:
        """The entities' columns that it reads, and what must be in them."""
        keys = self.view.spec.entity.join_keys
        return {column: key.type for column, key in zip(self.keys, keys, strict=True)}


@dataclass(frozen=True, slots=True)
class FeatureColumn:
    """A column of the result: the output of the read at ``place``.

    ``role``: what its full name begins with: the view's name as the request writes it.
    """

    role: str
    place: int
    output: Output

    @property
    def reference(self) -> str:
        """As a request names it."""
        return f"{self.role}:{self.output.name}"

    def name(self, full_feature_names: bool) -> str:
        """``feature``, or in full ``role__feature``."""
        return f"{self.role}__{self.output.name}" if full_feature_names else self.output.name


@dataclass(frozen=True, slots=True)
class Resolution:
    """Each view and set of keys once, and the columns in the order of the request."""

    reads: tuple[ViewRead, ...]
    columns: tuple[FeatureColumn, ...]

    @property
    def key_types(self) -> dict[str, KeyType]:
        """The entities' columns that are read, and what must be in them."""
        return {column: kind for read in self.reads for column, kind in read.key_types.items()}

    def names(self, taken: Iterable[str], full_feature_names: bool) -> list[str]:
        """Name of each of ``columns``. ``taken``: names of the entities' columns.

        Raises:
            RequestError: two columns would have the same name, or one has the name of an entity column.
        """
        names = [column.name(full_feature_names) for column in self.columns]
        owners = dict.fromkeys(taken, "the entities")
        for name, column in zip(names, self.columns, strict=True):
            if name in owners:
                raise RequestError(
                    f"two columns would have the name {name!r}",
                    where="features",
                    got=f"{column.reference}, and {owners[name]}",
                    hint="Rename the column of the entities"
                    if full_feature_names
                    else "full_feature_names=True puts the view before each name",
                )
            owners[name] = column.reference
        return names


def resolve(features: object, view: Callable[[str], ServedView]) -> Resolution:
    """What the references of a request come to. ``view``: the view of a name, as it is served.

    Raises:
        NotFound: a view or feature is unknown.
        RequestError: a reference is malformed.
    """
    found = _Resolver(view)
    for reference in parse_references(features):
        place = found.place(reference.view)
        for output in reference.outputs(found.views[place].outputs):
            found.add(reference.written, place, output)
    return found.resolution()


class _Resolver:
    def __init__(self, view: Callable[[str], ServedView]) -> None:
        self._view = view
        self._places: dict[str, int] = {}
        self.views: list[ServedView] = []
        self._outputs: list[dict[str, Output]] = []
        self._columns: dict[tuple[int, str], FeatureColumn] = {}

    def place(self, view: str) -> int:
        """Where the view is read."""
        if view not in self._places:
            self.views.append(self._view(view))
            self._outputs.append({})
            self._places[view] = len(self.views) - 1
        return self._places[view]

    def add(self, role: str, place: int, output: Output) -> None:
        self._outputs[place][output.name] = output
        self._columns.setdefault((place, output.name), FeatureColumn(role, place, output))

    def resolution(self) -> Resolution:
        reads = [
            ViewRead(view, _own_keys(view), tuple(outputs.values()))
            for view, outputs in zip(self.views, self._outputs, strict=True)
        ]
        return Resolution(tuple(reads), tuple(self._columns.values()))


def _own_keys(view: ServedView) -> tuple[str, ...]:
    return tuple(key.name for key in view.spec.entity.join_keys)


def changed(one: Sequence[ViewRead], other: Sequence[ViewRead]) -> bool:
    """Whether other builds are read."""
    return [read.view.digest for read in one] != [read.view.digest for read in other]
