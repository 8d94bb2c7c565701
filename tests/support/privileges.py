"""Root without its privileges: what permissions forbid is forbidden, as to anybody."""

from __future__ import annotations

import ctypes
import os

_DROP, _OVERRIDES = 24, (1, 2)  # PR_CAPBSET_DROP; CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


def bound_by_permissions() -> None:
    """From the next program on, permissions hold for root. A ``preexec_fn``; on Linux."""
    if os.geteuid() == 0:
        for capability in _OVERRIDES:
            ctypes.CDLL(None).prctl(_DROP, capability, 0, 0, 0)
