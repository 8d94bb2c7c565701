"""A table of PostgreSQL as a source in a cluster: the operator asks the server, and Jobs read it, with a login from a Secret."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.control_plane import ControlPlane
from cluster_story import Story, story
from eventually import eventually
from postgres_server import PostgresServer

pytestmark = pytest.mark.slow


@pytest.fixture
def it(controllers: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Story]:
    with story(controllers, namespace, tmp_path) as told:
        yield told


def test_rows_of_a_table_become_features_and_what_is_wrong_with_it_is_a_condition(
    it: Story, postgres: PostgresServer
) -> None:
    table = postgres.table(k="text", ts="timestamptz", v="bigint")
    it.secret(
        "reader",
        POSTGRES_USERNAME="ann",
        POSTGRES_PASSWORD=postgres.password,
        POSTGRES_TLS_CA=postgres.authority,
    )
    uri = postgres.uri.replace("127.0.0.1", "localhost")
    source = table.source(uri=uri, secretRef={"name": "reader"})
    mistaken = table.source(uri=uri, secretRef={"name": "reader"}, watermark="sen")
    it.apply(
        it.store(),
        it.pipeline("events", source=source),
        it.pipeline("mistaken", source=mistaken),
        it.view(),
    )
    # Before the operator looks: a row that it took and that is changed then would be taken once more.
    table.append(1, 2)
    postgres.ask(f"UPDATE {table.name} SET k = 'a', ts = at, v = n * 10, seen = seen + interval '1 minute'")
    it.start()
    it.until("featureview", "things", "UpToDate", rows=2)
    it.until("datapipeline", "events", "UpToDate", rows=2)
    assert it.get("datapipeline", "events")["status"]["lag"] == 0
    assert it.reader().get_features(["things:v"], [{"k": "a"}]).to_dict()["v"] == [20]

    def messages() -> list[str]:
        conditions = it.get("datapipeline", "mistaken").get("status", {}).get("conditions", ())
        return [condition["message"] for condition in conditions]

    eventually(lambda: any("Did you mean 'seen'?" in message for message in messages()), 60, it.told)
