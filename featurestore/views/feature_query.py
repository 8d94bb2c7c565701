"""What is asked of one view, and what it answers: offline and online alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from featurestore.resources.feature_view import FeatureViewSpec
from featurestore.resources.outputs import Output

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class FeatureQuery:
    """Outputs of a view for some entities.

    ``spec``: the resource that describes what is served, ``digest`` the build that serves.
    ``entities``: ``table[<join keys>]``, of the keys' declared types; a key may be null.
    """

    view: str
    spec: FeatureViewSpec
    digest: str
    outputs: Sequence[Output]
    entities: pa.Table


@dataclass(frozen=True, slots=True)
class FeatureValues:
    """Values and statuses of a view's outputs, one per requested entity and in the order of the request.

    ``columns``: output name to its values, of the declared type. ``statuses``: output name to
    :class:`featurestore.views.value_status.Status` as uint8. A value is null unless its status is ``PRESENT``.
    ``event_times``: of the entity's newest row that counts, ``timestamp[us, UTC]``; null where there is none.
    ``version``: of the view's table that was read; None if it was not, or if it is online that says so.
    """

    columns: Mapping[str, pa.Array]
    statuses: Mapping[str, npt.NDArray[np.uint8]]
    event_times: pa.Array
    version: int | None = None
