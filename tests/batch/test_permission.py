"""A file that must not be read goes to quarantine, and no other waits for it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from privileges import bound_by_permissions

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="root is kept from nothing elsewhere")


def test_a_file_without_read_permission_keeps_no_other_from_its_commit(
    pipeline: Callable[..., Any], command: Any, python: str
) -> None:
    p = pipeline()
    number = p.intend(*(p.csv(f"{n}.csv", f"x\n{n}\n") for n in range(3)))
    (p.raw / "1.csv").chmod(0)
    done = subprocess.run(
        [python, *command(p.request(number))],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=bound_by_permissions,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["result"]["filesRefused"] == {"file:permission": 1}
    assert [row["x"] for row in p.rows("x")] == [0, 2]
    (refused,) = p.quarantine("rule", "reason", "uri")
    assert refused["rule"] == "file:permission"
    assert "Permission denied" in refused["reason"]
