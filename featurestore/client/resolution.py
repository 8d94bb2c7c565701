"""What a request for features comes to: which views are read by which keys, and what each column of the result is.

::

    "delay-model", a service of  weather as origin (airport: origin) → temp,  weather → wind,  delays → mean
        reads    weather (origin) → temp;  weather (airport) → wind;  delays (tailnum) → mean
        columns  temp = 0: temp,  wind = 1: wind,  mean = 2: mean

Whoever reads, offline or online, answers each of ``reads`` in its order; what is computed on demand
(:mod:`featurestore.client.on_demand`) follows. A column is an output of one of all these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from featurestore.client.references import ALL, Reference, request_list
from featurestore.errors import RequestError, did_you_mean
from featurestore.resources import FeatureService
from featurestore.resources.feature_check import input_of
from featurestore.resources.feature_selection import FeatureSelection
from featurestore.resources.metadata import resource_name
from featurestore.resources.outputs import Output
from featurestore.resources.value import ColumnType, KeyType
from featurestore.views.served import ServedOnDemand, ServedView, ServedViews


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
class ComputedInput:
    """What an expression calls an output, and the place of what gives it."""

    name: str
    place: int
    output: Output


@dataclass(frozen=True, slots=True)
class ComputedView:
    """Outputs of a view on demand, and what they are computed from: reads, and what is computed before."""

    view: ServedOnDemand
    inputs: tuple[ComputedInput, ...]
    outputs: tuple[Output, ...]


@dataclass(frozen=True, slots=True)
class FeatureColumn:
    """A column of the result: an output of what is at ``place`` among all that is read and then all that is computed.

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
    """Each view and set of keys once, and the columns in the order of the request.

    ``computed``: views on demand, each after what it is computed from.
    """

    reads: tuple[ViewRead, ...]
    columns: tuple[FeatureColumn, ...]
    computed: tuple[ComputedView, ...] = ()

    @property
    def request(self) -> dict[str, ColumnType]:
        """The entities' columns that views on demand take values from."""
        return {
            field.name: field.type for view in self.computed for field in view.view.spec.on_demand.request
        }

    @property
    def event_times(self) -> set[str]:
        """Names that the views give to the times of their events."""
        return {read.view.spec.timestamp_field for read in self.reads}

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
    sources = _Sources(views, max_age_s)
    columns: dict[tuple[int, str], tuple[str, Output]] = {}
    for reference, key_map in asked:
        source = sources.source(reference.view, (key_map,), reference.written)
        for output in sources.ask(source, reference):
            columns.setdefault((source, output.name), (reference.written, output))
    places = sources.places()
    return Resolution(
        tuple(made for made in sources.made() if isinstance(made, ViewRead)),
        tuple(FeatureColumn(role, places[source], output) for (source, _), (role, output) in columns.items()),
        tuple(made for made in sources.made() if isinstance(made, ComputedView)),
    )


@dataclass(frozen=True, slots=True)
class _Source:
    """A view by one set of keys, or one on demand over such; ``inputs``: name, number of the source, output."""

    view: ServedView | ServedOnDemand
    keys: tuple[str, ...]
    inputs: tuple[tuple[str, int, Output], ...]
    outputs: dict[str, Output] = field(default_factory=dict)


class _Sources:
    """What is read and computed, each once, and before what is computed of it."""

    def __init__(self, views: ServedViews, max_age_s: float) -> None:
        self._views, self._max_age_s = views, max_age_s
        self._sources: list[_Source] = []
        self._numbers: dict[tuple[object, ...], int] = {}
        self._on_the_way: list[str] = []

    def source(self, name: str, key_maps: tuple[Mapping[str, str], ...], role: str) -> int:
        """The number of a view whose join keys are called so. ``key_maps``: from the view outwards."""
        view = self._views.get(name, self._max_age_s)
        keys: tuple[str, ...] = ()
        inputs: tuple[tuple[str, int, Output], ...] = ()
        if isinstance(view, ServedView):
            own = [key.name for key in view.spec.entity.join_keys]
            keys = tuple(_through(key_maps, key) for key in own)
        else:
            inputs = self._inputs(view, key_maps)
            own = list(self._own_keys(view))
        for key in key_maps[0]:
            if key not in own:
                # Another column of the entities may have the new key's name, and would be taken for it.
                raise RequestError(
                    f"the view {name!r} has no join key {key!r} any more",
                    where=f"joinKeyMap of {role!r}",
                    hint=did_you_mean(key, own),
                )
        known = (name, keys, tuple((called, number) for called, number, _ in inputs))
        number = self._numbers.setdefault(known, len(self._sources))
        if number == len(self._sources):
            self._sources.append(_Source(view, keys, inputs))
        return number

    def ask(self, number: int, reference: Reference) -> list[Output]:
        """The outputs that a reference means, which the source gives from now on."""
        source = self._sources[number]
        wanted = reference.outputs(source.view.outputs)
        source.outputs.update((output.name, output) for output in wanted)
        return wanted

    def places(self) -> list[int]:
        """By number, the place among all that is read and then all that is computed."""
        is_read = [isinstance(source.view, ServedView) for source in self._sources]
        reads = sum(is_read)
        return [
            sum(is_read[:number]) if read else reads + number - sum(is_read[:number])
            for number, read in enumerate(is_read)
        ]

    def made(self) -> Iterator[ViewRead | ComputedView]:
        """All of them in their order."""
        places = self.places()
        for source in self._sources:
            outputs = tuple(source.outputs.values())
            if isinstance(source.view, ServedView):
                yield ViewRead(source.view, source.keys, outputs)
            else:
                inputs = tuple(ComputedInput(name, places[n], output) for name, n, output in source.inputs)
                yield ComputedView(source.view, inputs, outputs)

    def _inputs(
        self, view: ServedOnDemand, key_maps: tuple[Mapping[str, str], ...]
    ) -> tuple[tuple[str, int, Output], ...]:
        if view.name in self._on_the_way:
            raise RequestError(
                "views on demand are computed from each other in a circle",
                where="features",
                got=" → ".join((*self._on_the_way, view.name)),
            )
        self._on_the_way.append(view.name)
        inputs: list[tuple[str, int, Output]] = []
        for selection in view.spec.on_demand.inputs:
            number = self.source(selection.view, (selection.join_key_map, *key_maps), selection.called)
            for feature in selection.features or (ALL,):
                reference = Reference(selection.view, feature, selection.called)
                asked = self.ask(number, reference)
                inputs += [(input_of(selection, output.name), number, output) for output in asked]
        self._on_the_way.pop()
        return tuple(inputs)

    def _own_keys(self, view: ServedOnDemand) -> Iterator[str]:
        """The join keys of all that it is computed from, as it calls them."""
        for selection in view.spec.on_demand.inputs:
            inner = self._views.get(selection.view, self._max_age_s)
            own = (
                (key.name for key in inner.spec.entity.join_keys)
                if isinstance(inner, ServedView)
                else self._own_keys(inner)
            )
            yield from (selection.join_key_map.get(key, key) for key in own)


def _through(key_maps: tuple[Mapping[str, str], ...], key: str) -> str:
    for key_map in key_maps:
        key = key_map.get(key, key)
    return key


def _references(features: object, views: ServedViews, max_age_s: float) -> Iterator[_Asked]:
    """What a request asks for, with services as what they name."""
    for text in request_list(features):
        if isinstance(text, FeatureSelection):
            yield from _selected([text])
            continue
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
