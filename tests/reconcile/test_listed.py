"""A service is ready when all its views are, and as fresh as the stalest of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from featurestore.reconcile.conditions import Condition, false, true
from featurestore.reconcile.listed import ListState, MemberState, list_state
from featurestore.reconcile.reasons import Reason
from featurestore.registry.registry import Registry
from featurestore.resources import FeatureService, FeatureView
from featurestore.storage.objects import Storage

READY = true("Ready", Reason.UP_TO_DATE, "")
BUILDING = false("Ready", Reason.BUILDING, "")


def view(name: str, *features: str) -> FeatureView:
    spec = {
        "entity": {"name": "e", "joinKeys": [{"name": "k", "type": "string"}]},
        "source": {"pipeline": "p"},
        "timestampField": "at",
        "features": [{"name": it, "type": "int64"} for it in features],
    }
    return FeatureView.model_validate({"kind": "FeatureView", "metadata": {"name": name}, "spec": spec})


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(Storage(str(tmp_path)))


def state(registry: Registry, *members: MemberState | None) -> ListState:
    """Of a service over the views a and b, which stand so."""
    known = dict(zip("ab", members, strict=True))
    spec = {"features": ["a:x", {"view": "a", "as": "other", "joinKeyMap": {"k": "l"}}, "b:*"]}
    service: dict[str, Any] = {"kind": "FeatureService", "metadata": {"name": "model"}, "spec": spec}
    registry.accept(FeatureService.model_validate(service))
    accepted = registry.current(FeatureService, "model")
    assert accepted is not None
    return list_state(accepted, registry, lambda kind, name: known[name])


def short(condition: Condition) -> tuple[str, str]:
    return condition.status.value, condition.reason


def test_it_is_ready_and_as_fresh_as_the_stalest_of_its_views(registry: Registry) -> None:
    registry.accept(view("a", "x", "y"))
    registry.accept(view("b", "z"))
    found = state(registry, MemberState(READY, 70), MemberState(READY, 50))
    assert short(found.ready) == ("True", "UpToDate")
    assert (found.watermark_us, found.facts) == (50, {"features": 4})


def test_it_says_which_view_is_not_ready(registry: Registry) -> None:
    registry.accept(view("a", "x"))
    registry.accept(view("b", "z"))
    found = state(registry, MemberState(READY, 70), MemberState(BUILDING, None))
    assert short(found.ready) == ("False", "Waiting")
    assert found.ready.message == "Not ready: view 'b' (Building)."
    assert found.watermark_us is None
    assert short(state(registry, MemberState(READY, 70), None).ready) == ("Unknown", "Waiting")


def test_it_says_which_view_is_missing(registry: Registry) -> None:
    registry.accept(view("a", "x"))
    found = state(registry, MemberState(READY, 70), None)
    assert short(found.ready) == ("False", "ResourceMissing")
    assert "view 'b'" in found.ready.message
    assert "view 'a'" not in found.ready.message


def test_it_says_what_a_changed_view_no_longer_has(registry: Registry) -> None:
    registry.accept(view("a", "y"))
    registry.accept(view("b", "z"))
    found = state(registry, MemberState(READY, 70), MemberState(READY, 50))
    assert short(found.ready) == ("False", "SpecInvalid")
    assert "the view 'a' has no feature 'x'" in found.ready.message
