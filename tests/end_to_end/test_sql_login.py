"""Logging in to PostgreSQL: with a password, by TLS, and in words where the server lets nobody in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from event_specs import NAME
from events import Events
from kafka_broker import certificate
from postgres_server import PostgresServer, PostgresTable

from featurestore.arrivals.source_kinds import open_source
from featurestore.errors import FeatureStoreError, SpecError, StorageError
from featurestore.resources import DataPipeline
from featurestore.resources.data_pipeline import Source
from featurestore.storage import paths
from featurestore.storage.credentials import SOURCE_PREFIX

TLS, AUTHORITIES = "POSTGRES_TLS", "POSTGRES_TLS_CA"


@pytest.fixture
def table(postgres: PostgresServer) -> PostgresTable:
    made = postgres.table()
    made.append(1)
    return made


@pytest.fixture
def login(postgres: PostgresServer) -> dict[str, str]:
    return {
        "POSTGRES_USERNAME": "ann",
        "POSTGRES_PASSWORD": postgres.password,
        AUTHORITIES: postgres.authority,
    }


def source(table: PostgresTable, host: str = "localhost") -> dict[str, object]:
    return table.source(uri=table.server.uri.replace("127.0.0.1", host))


def problem(table: PostgresTable, environ: Mapping[str, str], host: str = "localhost") -> FeatureStoreError:
    spec = Source.model_validate(source(table, host))
    with pytest.raises(FeatureStoreError) as raised:
        list(open_source(spec, None, environ).arrivals())
    assert "only-for-tests" not in str(raised.value)
    return raised.value


def test_a_password_and_an_authority_let_it_in_for_the_look_and_for_the_rows(
    table: PostgresTable, login: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in login.items():
        monkeypatch.setenv(SOURCE_PREFIX + name, value)
    events = Events(tmp_path, table)
    spec = {"source": source(table), "trigger": {"arrivals": {"maxWait": "0s"}}}
    events.laptop.apply({"kind": "DataPipeline", "metadata": {"name": NAME}, "spec": spec})
    events.run()
    assert len(events.laptop.table(paths.dataset(NAME))) == 1
    kept = events.laptop.project.registry.all(DataPipeline)[NAME].resource.model_dump_json()
    assert "only-for-tests" not in kept


def test_who_is_not_let_in_is_told_why(table: PostgresTable, login: dict[str, str]) -> None:
    wrong = problem(table, {**login, "POSTGRES_PASSWORD": "wrong"})
    assert isinstance(wrong, StorageError)
    assert 'password authentication failed for user "ann"' in str(wrong)
    nobody = problem(table, {AUTHORITIES: login[AUTHORITIES]})
    assert isinstance(nobody, SpecError)
    assert "POSTGRES_USERNAME in the Secret" in str(nobody)


def test_a_server_that_is_not_whom_it_says_is_not_told_the_password(
    table: PostgresTable, login: dict[str, str], tmp_path: Path
) -> None:
    assert "certificate" in str(problem(table, login, host="127.0.0.1"))
    other = certificate(tmp_path)
    assert "certificate" in str(problem(table, {**login, AUTHORITIES: other}))
    assert "TLS has no meaning" in str(problem(table, {**login, TLS: "sometimes"}))


def test_a_right_that_is_missing_is_told(table: PostgresTable, login: dict[str, str]) -> None:
    role = f"nobody_{table.name}"
    table.server.ask(f"CREATE ROLE {role} LOGIN")
    error = problem(table, {"POSTGRES_USERNAME": role}, host="127.0.0.1")
    assert isinstance(error, StorageError)
    assert f"permission denied for table {table.name}" in str(error)
