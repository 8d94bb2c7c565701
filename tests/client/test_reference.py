"""Names of features in requests, and of columns in results."""

from __future__ import annotations

from typing import Any

import pytest

from featurestore.client.references import Reference, request_list
from featurestore.client.resolution import FeatureColumn, Resolution
from featurestore.errors import NotFound, RequestError
from featurestore.resources.feature_view import FeatureViewSpec
from featurestore.resources.outputs import outputs

SPEC = FeatureViewSpec.model_validate(
    {
        "entity": {"name": "aircraft", "joinKeys": [{"name": "tailnum", "type": "string"}]},
        "source": {"pipeline": "flights"},
        "timestampField": "at",
        "features": [
            {"name": "last", "type": "float64", "column": "delay"},
            {
                "name": "mean",
                "type": "float64",
                "aggregate": {"function": "Mean", "column": "delay", "windows": ["1d", "7d"]},
            },
        ],
    }
)
KNOWN = outputs(SPEC)


def named(text: str) -> list[str]:
    return [output.name for output in Reference.parse(text).outputs(KNOWN)]


def test_a_reference_means_one_feature_or_one_window_or_all_of_a_view() -> None:
    assert named("v:last") == ["last"]
    assert named("v:mean_7d") == ["mean_7d"]
    assert named("v:*") == named("v") == ["last", "mean_1d", "mean_7d"]


def test_an_underscore_stands_for_a_hyphen_in_the_name_of_a_view_and_columns_keep_it() -> None:
    reference = Reference.parse("driver_hourly_stats:conv_rate")
    assert (reference.view, reference.feature) == ("driver-hourly-stats", "conv_rate")
    assert column_names([reference.written], [], True) == ["driver_hourly_stats__last"]
    assert Reference.parse("a_b:x") == Reference.parse("a-b:x")


def test_a_string_is_a_request_of_one() -> None:
    assert request_list("v:last") == request_list(["v:last"]) == ["v:last"]
    assert Reference.parse("v") == Reference.parse("v:*")


@pytest.mark.parametrize("text", ["v:", ":last", ":", "v:a:b", "", 7, None])
def test_a_malformed_reference_is_shown_the_form(text: Any) -> None:
    with pytest.raises(
        RequestError, match="this is not the name of a feature: in features, wanted view:feature"
    ):
        Reference.parse(text)


@pytest.mark.parametrize("text", ["v:mean_7", "v:mean", "v:lst"])
def test_an_unknown_feature_is_answered_with_the_nearest(text: str) -> None:
    with pytest.raises(NotFound, match=r"has no feature .*(Did you mean|There is)"):
        named(text)


@pytest.mark.parametrize(
    ("features", "message"), [(None, "features are not a list"), (7, "not a list"), ([], "no feature")]
)
def test_a_request_is_a_list_of_at_least_one_name(features: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        request_list(features)


def column_names(views: list[str], taken: list[str], full_feature_names: bool) -> list[str]:
    columns = tuple(FeatureColumn(view, place, KNOWN[0]) for place, view in enumerate(views))
    return Resolution((), columns).names(taken, full_feature_names)


def test_columns_are_named_as_feast_names_them() -> None:
    assert column_names(["aircraft-delays"], ["tailnum"], False) == ["last"]
    assert column_names(["aircraft-delays"], ["tailnum"], True) == ["aircraft-delays__last"]


def test_names_that_clash_are_refused_with_the_way_out() -> None:
    with pytest.raises(RequestError, match=r"'last'.*got b:last, and a:last\. full_feature_names=True"):
        column_names(["a", "b"], [], False)
    assert column_names(["a", "b"], [], True) == ["a__last", "b__last"]
    with pytest.raises(RequestError, match=r"got a:last, and the entities\. full_feature_names=True"):
        column_names(["a"], ["last"], False)
    with pytest.raises(RequestError, match="Rename the column of the entities"):
        column_names(["a"], ["a__last"], True)
