"""Whose a storage root is, and what is inside of it."""

from __future__ import annotations

from typing import Any

import pytest

from featurestore.errors import SpecError
from featurestore.storage import paths
from featurestore.storage.objects import Storage
from featurestore_operator.namespaces.ownership import claim

STORE: dict[str, Any] = {"metadata": {"name": "default"}}
ONE, OTHER = ({"name": name, "uid": f"uid-of-{name}"} for name in ("one", "other"))


@pytest.mark.parametrize("inner", ["datasets", "datasets/flights", "team/a"])
def test_a_root_inside_another_namespaces_is_refused_and_not_touched(s3_root: str, inner: str) -> None:
    claim(Storage(s3_root), ONE, STORE)
    nested = Storage(f"{s3_root}/{inner}")
    with pytest.raises(
        SpecError, match=f"is inside one that belongs to another.*{s3_root}, that of namespace 'one'"
    ):
        claim(nested, OTHER, STORE)
    assert nested.find(paths.OWNER) is None


def test_a_root_beside_another_or_inside_one_of_the_same_namespace_is_claimed(s3_root: str) -> None:
    claim(Storage(f"{s3_root}/one"), ONE, STORE)
    for root, namespace in ((f"{s3_root}/one-more", OTHER), (f"{s3_root}/one/staging", ONE)):
        claim(Storage(root), namespace, STORE)
        claim(Storage(root), namespace, STORE)
        with pytest.raises(SpecError, match="belongs to another namespace"):
            claim(Storage(root), {"name": "third", "uid": "uid-of-third"}, STORE)
