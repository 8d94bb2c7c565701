"""Names of features in requests: ``view:feature``, or ``view`` for all features of a view."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from featurestore.errors import NotFound, RequestError, did_you_mean
from featurestore.resources.metadata import resource_name
from featurestore.resources.outputs import Output

ALL = "*"


@dataclass(frozen=True, slots=True)
class Reference:
    """One feature of one view, or all of its features.

    ``written``: the view's name as the request writes it, with ``_`` or ``-``; full column names begin with it.
    """

    view: str
    feature: str
    written: str = field(compare=False)

    @classmethod
    def parse(cls, text: object) -> Reference:
        """The parts of ``view:feature``, or of ``view``, which means all its features.

        >>> Reference.parse("aircraft_delays:arr_delay_mean_7d")
        Reference(view='aircraft-delays', feature='arr_delay_mean_7d', written='aircraft_delays')

        Raises:
            RequestError: it is not of this form.
        """
        view, colon, feature = text.partition(":") if isinstance(text, str) else ("", "", "")
        if not view or bool(colon) != bool(feature) or ":" in feature:
            raise RequestError(
                "this is not the name of a feature",
                where="features",
                wanted="view:feature, or view (or view:*) for all features of a view",
                got=repr(text),
            )
        return cls(resource_name(view), feature or ALL, view)

    def outputs(self, known: Sequence[Output]) -> list[Output]:
        """The outputs that the reference means.

        Raises:
            NotFound: the view has no such feature.
        """
        chosen = [output for output in known if self.feature in (ALL, output.name)]
        if not chosen:
            raise NotFound(
                f"the view {self.view!r} has no feature {self.feature!r}",
                where="features",
                hint=did_you_mean(self.feature, (output.name for output in known)),
            )
        return chosen


def request_list(features: object) -> list[object]:
    """What a request asks for, in its order. A string is a request for one.

    Raises:
        RequestError: there is nothing, or this is not a list.
    """
    if isinstance(features, str):
        return [features]
    if not isinstance(features, Iterable):
        raise RequestError(
            "features are not a list",
            where="features",
            wanted="a name or a list of names",
            got=repr(features),
        )
    asked = list(features)
    if not asked:
        raise RequestError("no features were requested", where="features", wanted="at least one view:feature")
    return asked
