"""What a request for features comes to: which views are read by which keys, and what each column of the result is.

::

    "delay-model", a service of  weather as origin (airport: origin) → temp,  weather → wind,  delays → mean
        reads    weather (origin) → temp;  weather (airport) → wind;  delays (tailnum) → mean
        columns  temp = 0: temp,  wind = 1: wind,  mean = 2: mean

Whoever reads, offline or online, answers each of ``reads`` in its order; a column is an output of one of the answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from featurestore.client.references import ALL, Reference, request_list
from featurestore.errors import RequestError, did_you_mean
from featurestore.resources import FeatureService
from featurestore.resources.feature_selection import FeatureSelection
from featurestore.resources.metadata import resource_name
from featurestore.resources.outputs import Output
from featurestore.resources.value import KeyType
from featurestore.views.served import ServedView, ServedViews


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

    ``role``: what its full name begins with: the view's name as the request writes it, or its role in a service.
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


def resolve(features: object, views: ServedViews, max_age_s: float = 0.0) -> Resolution:
    """What the references and services of a request mean now, or meant at most ``max_age_s`` seconds ago.

    Raises:
        NotFound: a view, service or feature is unknown.
        RequestError: a reference is malformed.
    """
    return _resolution(_references(features, views, max_age_s), views, max_age_s)


def resolve_selections(
    selections: Sequence[FeatureSelection], views: ServedViews, max_age_s: float = 0.0
) -> Resolution:
    """What the features of a service mean; else as :func:`resolve`."""
    return _resolution(_selected(selections), views, max_age_s)


def changed(one: Sequence[ViewRead], other: Sequence[ViewRead]) -> bool:
    """Whether other builds are read."""
    return [read.view.digest for read in one] != [read.view.digest for read in other]


_Asked = tuple[Reference, Mapping[str, str]]
"""A reference, and for join keys of its view the entities' column that has them, if that is another."""


def _resolution(asked: Iterable[_Asked], views: ServedViews, max_age_s: float) -> Resolution:
    places: dict[tuple[str, tuple[str, ...]], int] = {}
    reads: list[tuple[ServedView, tuple[str, ...], dict[str, Output]]] = []
    columns: dict[tuple[int, str], FeatureColumn] = {}
    for reference, key_map in asked:
        view = views.get(reference.view, max_age_s)
        keys = _key_columns(view, key_map, reference.written)
        place = places.setdefault((view.name, keys), len(reads))
        if place == len(reads):
            reads.append((view, keys, {}))
        for output in reference.outputs(view.outputs):
            reads[place][2][output.name] = output
            columns.setdefault((place, output.name), FeatureColumn(reference.written, place, output))
    made = (ViewRead(view, keys, tuple(outputs.values())) for view, keys, outputs in reads)
    return Resolution(tuple(made), tuple(columns.values()))


def _references(features: object, views: ServedViews, max_age_s: float) -> Iterator[_Asked]:
    """What a request asks for, with services as what they name."""
    for text in request_list(features):
        service = _service(text, views, max_age_s)
        if service is None:
            yield Reference.parse(text), {}
        else:
            yield from _selected(service.spec.features)


def _selected(selections: Sequence[FeatureSelection]) -> Iterator[_Asked]:
    for selection in selections:
        for feature in selection.features or (ALL,):
            yield Reference(selection.view, feature, selection.called), selection.join_key_map


def _service(text: object, views: ServedViews, max_age_s: float) -> FeatureService | None:
    """The service that a name without a feature means; None if it means a view."""
    if not isinstance(text, str) or not text or ":" in text:
        return None
    name = resource_name(text)
    service = views.service(name, max_age_s)
    if service is not None and views.exists(name):
        raise RequestError(
            "a view and a service have this name",
            where="features",
            got=repr(text),
            hint=f"{name}:* is all of the view; to read the service, give it another name",
        )
    return service


def _key_columns(view: ServedView, key_map: Mapping[str, str], role: str) -> tuple[str, ...]:
    names = [key.name for key in view.spec.entity.join_keys]
    for key in key_map:
        if key not in names:
            # Another column of the entities may have the new key's name, and would be taken for it.
            raise RequestError(
                f"the view {view.name!r} has no join key {key!r} any more",
                where=f"joinKeyMap of {role!r}",
                hint=did_you_mean(key, names),
            )
    return tuple(key_map.get(name, name) for name in names)
