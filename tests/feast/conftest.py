"""What Feast answers of two repositories: in one process, since to import it takes seconds of a processor."""

from __future__ import annotations

import pytest
from feast_environment import feast_answers
from feast_repositories import Asked, of_quick_start, of_shop


@pytest.fixture(scope="session")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Asked, Asked]:
    folder = tmp_path_factory.mktemp("feast")
    questions = of_quick_start(folder / "quick"), of_shop(folder / "shop")
    first, second = feast_answers(folder, *questions)
    return (questions[0], first), (questions[1], second)


@pytest.fixture(scope="session")
def quick_start(asked: tuple[Asked, Asked]) -> Asked:
    """Of the repository that Feast makes."""
    return asked[0]


@pytest.fixture(scope="session")
def many_files(asked: tuple[Asked, Asked]) -> Asked:
    """Of the repository in ``fixtures/feast``."""
    return asked[1]
