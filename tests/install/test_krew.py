"""What krew installs: one file that needs Python and kubectl alone, as its manifest says."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("krew"))


def written(folder: Path) -> Path:
    options = ("--homepage=https://example.com", "--uri=https://example.com/kubectl-featurestore.tar.gz")
    subprocess.run([sys.executable, ROOT / "operator/krew/archive.py", folder, *options], check=True)
    return folder


def test_the_plugin_is_one_file_that_needs_no_package(folder: Path, tmp_path: Path) -> None:
    with tarfile.open(folder / "kubectl-featurestore.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    # Isolated, and without site-packages.
    command = [sys.executable, "-I", "-S", tmp_path / "kubectl-featurestore", "status"]
    done = subprocess.run(command, env={"PATH": ""}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (75, "✗ there is no kubectl in your PATH\n")


def test_the_manifest_names_the_archive_that_was_written(folder: Path) -> None:
    found = yaml.safe_load((folder / "featurestore.yaml").read_text())
    (platform,) = found["spec"]["platforms"]
    assert (
        platform["sha256"]
        == hashlib.sha256((folder / "kubectl-featurestore.tar.gz").read_bytes()).hexdigest()
    )
    assert platform["uri"] == "https://example.com/kubectl-featurestore.tar.gz"
    with tarfile.open(folder / "kubectl-featurestore.tar.gz") as archive:
        # krew wants a license, and runs this.
        assert {"LICENSE", platform["bin"]} == set(archive.getnames())
    assert not [line for line in (folder / "featurestore.yaml").read_text().splitlines() if '"{' in line]


def test_the_same_sources_give_the_same_archive(folder: Path, tmp_path: Path) -> None:
    archives = [it / "kubectl-featurestore.tar.gz" for it in (folder, written(tmp_path))]
    assert archives[0].read_bytes() == archives[1].read_bytes()
