"""Texts become values of a type only if the type gives them back, or somebody declared it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.expressions.run.cast import UTC, fit_to
from featurestore_transforms.sources.text_types import kinds

Make = Callable[..., Any]


def learned(*texts: str | None) -> str:
    """The type that a column of these texts is learned as."""
    return str(kinds(["x"], [pl.DataFrame({"x": texts}, schema={"x": pl.String})])["x"])


@pytest.mark.parametrize(
    ("texts", "dtype"),
    [
        (["0", "-7", "9223372036854775807"], "Int64"),
        (["007", "8"], "String"),
        (["+7", "8"], "String"),
        (["-0", "8"], "Float64"),
        (["14933243513335727983", "14933243513335727984"], "String"),
        (["9223372036854775808"], "String"),
        (["9007199254740993", "0.5"], "String"),
        (["1", "1.5"], "Float64"),
        (["1.0", "1.5"], "Float64"),
        (["1", "1.0"], "String"),
        (["1.1", "1.10"], "String"),
        (["1e5"], "String"),
        ([".5"], "String"),
        (["0.30000000000000004", "1e-05", "1.5e+16", "-0.0", "NaN", "-inf"], "Float64"),
        (["0.1000000000000000055511151231257827"], "String"),
        (["1e400"], "String"),
        (["true", "false"], "Boolean"),
        (["True", "False"], "String"),
        (["2024-01-31"], "Date"),
        (["2024-02-30"], "String"),
        (["0000-01-01"], "String"),
        (["2024-01-31T05:06Z", "2024-01-31 05:06:07.5"], "Datetime(time_unit='us', time_zone='UTC')"),
        (["2024-01-31T05:06:07.123456789Z"], "String"),
        (["2024-01-31T05:06:60Z"], "String"),
        (["2024-01-31", "2024-01-31T05:06Z"], "String"),
        ([" 1"], "String"),
        ([None, None], "Null"),
    ],
)
def test_a_type_is_learned_only_from_texts_that_it_gives_back(texts: list[str | None], dtype: str) -> None:
    assert learned(*texts) == dtype


@given(
    st.lists(
        st.sampled_from(["7", "7.0", "-1", "1.5", "1e-05", "true", "2024-01-31", "x", "00", None]), max_size=6
    ),
    st.integers(0, 6),
)
@settings(max_examples=examples(200))
def test_where_a_piece_of_the_file_ends_changes_no_type(texts: list[str | None], cut: int) -> None:
    schema = {"x": pl.String, "other": pl.String}
    rows = pl.DataFrame({"x": texts, "other": ["7"] * len(texts)}, schema=schema)
    cut_up = kinds(rows.columns, [rows.head(cut), rows.slice(cut)])
    assert cut_up == kinds(rows.columns, [rows])
    assert str(cut_up["x"]) == learned(*texts)


def test_thousands_of_columns_are_learned_side_by_side() -> None:
    columns = {f"c{n}": ["1", "2.5", "x"][n % 3] for n in range(3000)}
    found = kinds(columns, [pl.DataFrame(columns)])
    assert [str(found[f"c{n}"]) for n in range(3000)] == ["Int64", "Float64", "String"] * 1000


def rendered(value: Any) -> set[str]:
    """All texts that a value of a learned type is written as."""
    if isinstance(value, bool):
        return {str(value).lower()}
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 10**16:
            return {repr(value), str(int(value)), "-0"} if value == 0 else {repr(value), str(int(value))}
        return {repr(value), "NaN" if value != value else repr(value), f"{Decimal(repr(value)):f}"}
    if isinstance(value, int):
        return {str(value), f"{value}.0"}
    return {str(value)}


numbers = st.one_of(
    st.from_regex(r"\A[+-]?[0-9]{1,22}(\.[0-9]{0,20})?(e[+-]?[0-9]{1,3})?\Z"),
    st.floats().map(repr),
    st.integers().map(str),
    st.sampled_from(["true", "True", "NaN", "nan", "inf", "Infinity", "2024-01-31", "07", "", " 1", "0x1"]),
    st.text(max_size=6),
)


@settings(max_examples=examples(500), deadline=None)
@given(texts=st.lists(numbers, min_size=1, max_size=4), at=st.sampled_from([pl.Int64(), pl.Float64()]))
def test_a_text_that_fits_a_type_undeclared_is_a_text_of_its_value(texts: list[str], at: pl.DataType) -> None:
    for target in (
        at,
        pl.Boolean(),
        pl.Date(),
        kinds(["x"], [pl.DataFrame({"x": texts}, schema={"x": pl.String})])["x"],
    ):
        if target in (UTC, pl.Null()):
            continue
        found = fit_to(pl.col("x"), pl.String(), target, exact=True)
        assert found is not None
        fits = pl.lit(True) if found.fits is None else found.fits
        for text, value, good in pl.DataFrame({"x": texts}).select("x", v=found.value, f=fits).iter_rows():
            assert not good or text in rendered(value)


def test_zeros_in_front_never_make_another_number_of_a_code(pipeline: Make) -> None:
    p = pipeline()
    p.batch(p.csv("a.csv", "zip,v\n10115,1\n"))
    p.batch(p.csv("b.csv", "zip,v\n01067,2\n1067,3\n+7,4\n"))
    assert p.rows("zip") == [{"zip": 10115}, {"zip": 1067}]
    assert [row["reason"] for row in p.quarantine("reason")] == [
        "zip: wanted int64, got '01067'",
        "zip: wanted int64, got '+7'",
    ]


def test_long_numbers_stay_texts(pipeline: Make) -> None:
    p = pipeline()
    p.batch(p.csv("a.csv", "id,v\n14933243513335727983,1\n14933243513335727984,2\n"))
    assert [row["id"] for row in p.rows("id")] == ["14933243513335727983", "14933243513335727984"]


@pytest.mark.parametrize("text", ["1e5", "1.10", "True", "00", "+1", "14933243513335727983"])
def test_keys_keep_their_own_text(pipeline: Make, text: str) -> None:
    p = pipeline()
    p.batch(p.csv("a.csv", f"k,v\n{text},1\n"))
    assert p.rows("k") == [{"k": text}]


def test_what_is_declared_says_what_texts_become(pipeline: Make) -> None:
    columns = [
        {"name": "n", "type": "int64"},
        {"name": "x", "type": "float64"},
        {"name": "b", "type": "bool"},
    ]
    p = pipeline(columns=columns)
    p.batch(p.csv("a.csv", "n,x,b\n007,1.10,True\n7.0,1e5,false\n"))
    assert p.rows("n", "x", "b") == [{"n": 7, "x": 1.1, "b": True}, {"n": 7, "x": 1e5, "b": False}]


@pytest.mark.parametrize("form", ["CSV", "JSON", "Parquet", "Arrow"])
def test_seven_with_a_point_is_seven_in_every_format(pipeline: Make, form: str) -> None:
    p = pipeline(source={"format": form})
    write = {
        "CSV": lambda path, n: path.write_text(f"n\n{n}\n"),
        "JSON": lambda path, n: path.write_text(f'{{"n": {n}}}\n'),
        "Parquet": lambda path, n: pl.DataFrame({"n": [n]}).write_parquet(path),
        "Arrow": lambda path, n: pl.DataFrame({"n": [n]}).write_ipc(path),
    }[form]
    for number, value in enumerate((3, 7.0, 7.5)):
        write(p.raw / f"{number}", value)
        p.batch(f"{number}")
    assert p.rows("n") == [{"n": 3}, {"n": 7}]
    assert len(p.quarantine()) == 1
