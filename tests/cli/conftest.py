"""The command line as a person calls it: arguments in, exit code and text out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from featurestore.cli.__main__ import main
from featurestore.registry.project import Project, open_project


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def featurestore(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Command:
    """Calls the command line in this process, in an empty folder that no environment points away from."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEATURESTORE_URI", raising=False)
    monkeypatch.setenv("COLUMNS", "100")

    def call(*arguments: str) -> Said:
        monkeypatch.setattr("sys.argv", ["featurestore", *arguments])
        capsys.readouterr()
        try:
            main()
            code: object = 0
        except SystemExit as ended:
            code = ended.code or 0
        out, err = capsys.readouterr()
        assert isinstance(code, int)
        return Said(code, out, err)

    return call


@pytest.fixture
def project(featurestore: Command, tmp_path: Path) -> Project:
    """The example that ``init`` writes, applied to no runner yet."""
    if not (tmp_path / "store.yaml").exists():
        assert featurestore("init", ".").code == 0
    assert featurestore("apply", "-f", ".").code == 0
    return open_project(None, {}, tmp_path)
