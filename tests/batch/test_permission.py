"""A file that must not be read goes to quarantine, and no other waits for it."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="root is kept from nothing elsewhere")
_DROP, _OVERRIDES = 24, (1, 2)  # PR_CAPBSET_DROP; CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


def _bound_by_permissions() -> None:
    """From the next program on, root may read what its permissions say, as anybody."""
    for capability in _OVERRIDES:
        ctypes.CDLL(None).prctl(_DROP, capability, 0, 0, 0)


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
        preexec_fn=_bound_by_permissions if os.geteuid() == 0 else None,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["result"]["filesRefused"] == {"file:permission": 1}
    assert [row["x"] for row in p.rows("x")] == [0, 2]
    (refused,) = p.quarantine("rule", "reason", "uri")
    assert refused["rule"] == "file:permission"
    assert "Permission denied" in refused["reason"]
