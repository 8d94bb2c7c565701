"""Names of features in requests: ``view:feature``, or ``view:*`` for all of a view."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from featurestore.errors import NotFound, RequestError, did_you_mean
from featurestore.resources.outputs import Output

ALL = "*"


@dataclass(frozen=True, slots=True)
class Reference:
    """One feature of one view, or all of its features."""

    view: str
    feature: str

    @classmethod
    def parse(cls, text: object) -> Reference:
        """The parts of ``view:feature``.

        >>> Reference.parse("aircraft-delays:arr_delay_mean_7d")
        Reference(view='aircraft-delays', feature='arr_delay_mean_7d')

        Raises:
            RequestError: it is not of this form.
        """
        view, colon, feature = text.partition(":") if isinstance(text, str) else ("", "", "")
        if not (view and colon and feature) or ":" in feature:
            raise RequestError(
                "this names no feature",
                where="features",
                wanted="view:feature, or view:* for all of a view",
                got=repr(text),
            )
        return cls(view, feature)

    def outputs(self, known: Sequence[Output]) -> list[Output]:
        """The outputs that are meant.

        Raises:
            NotFound: the view has no such feature.
        """
        found = [output for output in known if self.feature in (ALL, output.name)]
        if not found:
            raise NotFound(
                f"the view {self.view!r} has no feature {self.feature!r}",
                where="features",
                hint=did_you_mean(self.feature, (output.name for output in known)),
            )
        return found


def parse_references(features: object) -> list[Reference]:
    """All references of a request, each once, in their order.

    Raises:
        RequestError: one is malformed, there is none, or the list is no list.
    """
    if isinstance(features, str) or not isinstance(features, Iterable):
        raise RequestError(
            "features are no list", where="features", wanted="a list of names", got=repr(features)
        )
    references = list(dict.fromkeys(Reference.parse(text) for text in features))
    if not references:
        raise RequestError("no feature is asked for", where="features", wanted="at least one view:feature")
    return references


def column_names(
    asked: Sequence[tuple[str, Output]], taken: Iterable[str], full_feature_names: bool
) -> list[str]:
    """Name of the result's column for each ``(view, output)``: ``feature``, or in full ``view__feature``.

    Raises:
        RequestError: two columns would have the same name, or one has the name of an entity column.
    """
    names = [f"{view}__{output.name}" if full_feature_names else output.name for view, output in asked]
    owners = dict.fromkeys(taken, "the entities")
    for name, (view, output) in zip(names, asked, strict=True):
        if name in owners:
            raise RequestError(
                f"two columns would have the name {name!r}",
                where="features",
                got=f"{view}:{output.name}, and {owners[name]}",
                hint="Rename the column of the entities"
                if full_feature_names
                else "full_feature_names=True puts the view before each name",
            )
        owners[name] = f"{view}:{output.name}"
    return names
