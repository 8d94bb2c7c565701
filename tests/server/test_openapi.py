"""What the server does is what its OpenAPI document says: tried by schemathesis, with good and with strange requests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from examples import examples
from feature_server import FeatureServer


@pytest.mark.slow
def test_every_answer_is_as_the_document_says_and_none_is_a_failure(
    server: FeatureServer, tmp_path: Path
) -> None:
    command = [Path(sys.executable).with_name("schemathesis"), "run", f"{server.url}/openapi.json"]
    command += ["--max-examples", str(examples(20)), "--generation-deterministic", "--no-color"]
    # A request of the right form may still ask for what there is not, or name a feature in no way.
    command += ["--exclude-checks", "positive_data_acceptance"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "8 selected / 8 total" in done.stdout
