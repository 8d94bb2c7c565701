"""Images are made by what works here, and by what one says."""

from __future__ import annotations

from pathlib import Path

import pytest

from release import containers, images
from release.containers import Containers, ContainersError

BROKEN = "#!/bin/sh\nexit 1\n"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that alone is searched for programs."""
    monkeypatch.setenv("PATH", f"{tmp_path}")
    monkeypatch.delenv("CONTAINERS", raising=False)
    return tmp_path


def put(path: Path, name: str, content: str) -> None:
    (path / name).write_text(content)
    (path / name).chmod(0o755)


def test_the_first_program_that_works_is_taken(path: Path) -> None:
    put(path, "docker", BROKEN)
    put(path, "podman", "#!/bin/sh\nexit 0\n")
    put(path, "buildah", "#!/bin/sh\nexit 0\n")
    assert containers.found().program == "podman"


def test_what_is_named_is_taken_with_its_options(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(path, "podman", "#!/bin/sh\nexit 0\n")
    monkeypatch.setenv("CONTAINERS", "buildah --root=/elsewhere")
    assert containers.found().program == "buildah"


def test_where_nothing_works_it_says_what_would(path: Path) -> None:
    put(path, "docker", BROKEN)
    with pytest.raises(ContainersError, match=r"none of docker, podman, buildah works here.*CONTAINERS="):
        containers.found()


def test_a_command_that_fails_is_told_with_what_it_said(path: Path) -> None:
    put(path, "podman", "#!/bin/sh\necho no space left >&2\nexit 125\n")
    with pytest.raises(ContainersError, match=r"podman pull --quiet it ended with 125:\nno space left"):
        Containers([str(path / "podman")]).pull("it")


def test_the_chart_installs_what_the_images_are_called() -> None:
    assert images.values({"operator": "r/operator@sha256:1", "job": "r/job@sha256:2", "kserve": "r/k"}) == (
        "images:\n  operator: r/operator@sha256:1\n  job: r/job@sha256:2\n"
    )
    # What a release replaces by digests.
    chart = (images.ROOT / "operator/chart/values.yaml").read_text()
    for target in images.IN_CHART:
        assert f"  {target}: {images.image(target)}\n" in chart
