"""One project and one server for all tests that ask and change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from feature_server import FeatureServer, make_project, serving_features
from page_project import shown_project


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with served features that no test changes."""
    return make_project(tmp_path_factory.mktemp("served") / "project", count=200)


@pytest.fixture(scope="session")
def server(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureServer]:
    """Its server, with small limits."""
    log = tmp_path_factory.mktemp("server") / "log"
    with serving_features(project, log, "--max-entities", "1000", "--max-body-bytes", "65536") as running:
        yield running


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with all that pages can show, which no test changes."""
    return shown_project(tmp_path_factory.mktemp("shown") / "project")


@pytest.fixture(scope="session")
def pages(shown: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureServer]:
    """Its server."""
    with serving_features(shown, tmp_path_factory.mktemp("pages") / "log") as running:
        yield running
