"""Entities as numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.offline.entity_codes import EntityCodes

KEYS = st.tuples(
    st.none() | st.sampled_from(["", "a", "b", "é"]),
    st.none() | st.sampled_from([-(2**63), 0, 1, 2**63 - 1]),
    st.none() | st.sampled_from([-1, 2**31 - 1]),
)


def keys_table(keys: list[tuple[Any, ...]]) -> pa.Table:
    kinds = (pa.string(), pa.int64(), pa.int32())
    return pa.table({f"k{n}": pa.array([key[n] for key in keys], kind) for n, kind in enumerate(kinds)})


@settings(deadline=None)
@given(st.lists(st.tuples(KEYS, st.booleans()), max_size=20), st.lists(KEYS, max_size=20))
def test_two_rows_have_the_same_code_just_when_all_their_keys_agree(
    asked: list[tuple[Any, bool]], rows: list[tuple[Any, ...]]
) -> None:
    wanted = np.array([flag for _, flag in asked], np.bool_)
    codes = EntityCodes.of_asked(keys_table([key for key, _ in asked]), wanted)
    of_key = {
        key: code
        for (key, flag), code in zip(asked, codes.of_rows.tolist(), strict=True)
        if flag and None not in key
    }
    assert sorted(set(of_key.values())) == list(range(len(of_key)))
    for (key, flag), code in zip(asked, codes.of_rows.tolist(), strict=True):
        assert code == (of_key[key] if flag and None not in key else -1)
    assert codes.of(keys_table(rows)).tolist() == [of_key.get(key, -1) for key in rows]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_text_has_its_code_in_whatever_form_a_file_holds_it(kind: pa.DataType) -> None:
    codes = EntityCodes.of_asked(pa.table({"k": ["b", "a", None]}), np.ones(3, np.bool_))
    rows = pa.chunked_array([pa.array(["a", None, "c"]), pa.array(["b"])]).cast(kind)
    assert codes.of(pa.table({"k": rows})).tolist() == [0, -1, -1, 1]


def test_codes_rise_with_the_keys_so_that_sorted_files_need_little_sorting() -> None:
    codes = EntityCodes.of_asked(pa.table({"k": ["c", "a", "b", "a"]}), np.ones(4, np.bool_))
    assert codes.of_rows.tolist() == [2, 0, 1, 0]
    assert codes.bounds() == [("a", "c")]
