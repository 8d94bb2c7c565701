"""How much memory a Job asks for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from featurestore.resources.data_pipeline import LEAST_MEMORY, Resources
from featurestore_operator.jobs.memory import Learned, memory

GIB = 2**30
TWO_TO_EIGHT = Resources.model_validate({"memory": "2Gi", "memoryLimit": "8Gi"})


def test_the_first_job_reserves_half_of_what_it_may_use() -> None:
    asked = memory(TWO_TO_EIGHT, None, 10**9, killed=0)
    assert (asked.request_bytes, asked.limit_bytes) == (GIB, 2 * GIB)


def test_a_small_batch_reserves_what_small_batches_needed() -> None:
    asked = memory(TWO_TO_EIGHT, Learned(10**6, 320 * 2**20), 10**6, killed=0)
    assert asked.request_bytes == 400 * 2**20
    assert asked.limit_bytes == 2 * GIB


def test_a_larger_batch_reserves_more_than_the_last_one_needed_but_never_above_the_limit() -> None:
    learned = Learned(10**6, 320 * 2**20)
    double = memory(TWO_TO_EIGHT, learned, 2 * 10**6, killed=0)
    huge = memory(TWO_TO_EIGHT, learned, 10**12, killed=0)
    assert 400 * 2**20 < double.request_bytes < 2 * GIB
    assert huge.request_bytes == huge.limit_bytes == 2 * GIB


def test_each_oom_kill_doubles_the_memory_up_to_the_limit_and_reserves_all_of_it() -> None:
    asked = [memory(TWO_TO_EIGHT, Learned(10**6, LEAST_MEMORY), 10**6, killed) for killed in (1, 2, 3, 60)]
    assert [it.limit_bytes // GIB for it in asked] == [4, 8, 8, 8]
    assert [it.request_bytes for it in asked] == [it.limit_bytes for it in asked]


@given(
    st.integers(0, 2**40),
    st.one_of(st.none(), st.builds(Learned, st.integers(0, 2**40), st.integers(0, 2**40))),
    st.integers(0, 100),
)
def test_a_request_is_never_above_its_limit_nor_a_limit_above_what_the_spec_says(
    bytes_in: int, learned: Learned | None, killed: int
) -> None:
    asked = memory(TWO_TO_EIGHT, learned, bytes_in, killed)
    assert 0 < asked.request_bytes <= asked.limit_bytes <= 8 * GIB
