"""What a process says of its memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.new_process,
    pytest.mark.skipif(sys.platform != "linux", reason="other systems forget no peak"),
]
MIB = 2**20


def told(code: str) -> list[int]:
    prelude = "from featurestore_transforms.batch.peak import forget_peak, peak_bytes\n"
    done = subprocess.run(
        [sys.executable, "-c", prelude + code],
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    return [int(number) for number in done.stdout.split()]


def test_a_peak_is_remembered_after_the_memory_is_given_back_until_it_is_forgotten() -> None:
    before, after, forgotten = told(
        "print(peak_bytes())\n"
        "held = bytearray(256 * 2**20); del held\n"
        "print(peak_bytes())\n"
        "forget_peak(); print(peak_bytes())\n"
    )
    assert after >= before + 250 * MIB
    assert forgotten < before + 50 * MIB


def test_the_peak_of_the_process_that_started_this_one_is_not_its_own() -> None:
    [peak] = told(
        "import subprocess, sys\n"
        "held = bytearray(256 * 2**20)\n"
        "code = 'from featurestore_transforms.batch.peak import peak_bytes; print(peak_bytes())'\n"
        "subprocess.run([sys.executable, '-c', code], check=True)\n"
    )
    assert peak < 200 * MIB
