"""What a build may take of memory is beside what its process holds already."""

from __future__ import annotations

import os

import pyarrow as pa

from featurestore.runner.guard import held_bytes
from featurestore_transforms.training.freed_memory import (
    LEAST_BYTES,
    from_the_system,
    give_back,
    room_for_rows,
)

GIB = 1 << 30


def test_rows_have_what_the_process_leaves_of_the_bound() -> None:
    room = room_for_rows(4 * GIB)
    assert 0 < room < 4 * GIB - held_bytes(os.getpid()) * 0.9


def test_rows_have_some_room_when_the_process_takes_all_of_it() -> None:
    assert room_for_rows(1) == LEAST_BYTES


def test_arrow_has_its_own_memory_again_after_a_build() -> None:
    before = pa.default_memory_pool().backend_name
    with from_the_system():
        assert pa.default_memory_pool().backend_name == "system"
        kept = pa.array(range(1000))
        give_back()
    assert pa.default_memory_pool().backend_name == before
    assert kept.to_pylist() == list(range(1000))
