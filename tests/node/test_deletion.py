"""Data goes with the resource that asks for it, and stays otherwise."""

from __future__ import annotations

import flights
from eventually import eventually
from tenant import Tenant

from featurestore.storage import paths
from featurestore.storage.objects import Storage


def test_data_goes_with_the_resources_that_ask_for_it_and_nothing_else_goes(
    tenant: Tenant, s3: dict[str, str]
) -> None:
    flights.begin(tenant, s3, deletionPolicy="Delete")
    flights.put(s3, tenant.namespace, 1)
    tenant.until("featureview", "aircraft-delays", "UpToDate")
    storage = Storage(f"s3://features/{tenant.namespace}", s3)
    assert storage.names(paths.dataset("flights"))
    tenant.apply(flights.view(deletionPolicy="Delete"))
    eventually(lambda: tenant.get("featureview", "aircraft-delays")["metadata"].get("finalizers"))
    tenant.kubectl("delete", "featureview", "aircraft-delays", "--timeout=600s")
    assert storage.names("features/aircraft-delays") == []
    assert storage.names(paths.dataset("flights"))
    tenant.kubectl("delete", "datapipeline", "flights", "--timeout=600s")
    assert storage.names(paths.dataset("flights")) == storage.names(paths.ledger("flights")) == []
    assert storage.names("registry")


def test_a_namespace_goes_with_its_data_though_its_store_goes_first(
    tenant: Tenant, s3: dict[str, str]
) -> None:
    flights.begin(tenant, s3, deletionPolicy="Delete")
    flights.put(s3, tenant.namespace, 1)
    tenant.until("datapipeline", "flights", "UpToDate")
    storage = Storage(f"s3://features/{tenant.namespace}", s3)
    assert storage.names(paths.dataset("flights"))
    tenant.kubectl("delete", "featurestore", "default")
    tenant.kubectl("delete", "datapipeline", "flights", "--wait=false")
    tenant.until("datapipeline", "flights", "Deleting", words=["There is no FeatureStore"])
    tenant.kubectl("delete", "namespace", tenant.namespace, "--timeout=600s")
    assert storage.names(paths.dataset("flights")) == storage.names(paths.ledger("flights")) == []
