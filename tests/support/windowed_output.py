"""Outputs over windows, without the view that a spec would have them in."""

from __future__ import annotations

from featurestore.aggregates.aggregates import AggregateFunction
from featurestore.resources.feature_view import Aggregate, Feature
from featurestore.resources.outputs import Output, aggregate_input
from featurestore.resources.value import ColumnType


def make_output(
    function: AggregateFunction, kind: ColumnType, window_us: int, hop_us: int, quantile: float | None = None
) -> Output:
    """One window of an aggregate; times here are as short as the case needs."""
    aggregate = Aggregate.model_construct(
        function=function, column="x", windows=(), hop=None, quantile=quantile
    )
    feature = Feature.model_construct(
        name="f", type=kind, column=None, expression=None, aggregate=aggregate, description=""
    )
    return Output("f_w", kind, feature, aggregate_input(feature), window_us, hop_us)
