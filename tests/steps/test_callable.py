"""The user's own functions: what they get, what they may return, and how their failures are told."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from featurestore.errors import CodeError, SpecError
from featurestore_transforms.steps.python import CallableRaised, load

Define = Callable[[str], dict[str, Any]]


@pytest.fixture
def define(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Define]:
    """Writes the users' module; its function ``f`` as a step."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(source: str) -> dict[str, Any]:
        (tmp_path / "users_module.py").write_text(source)
        return {"python": {"callable": "users_module:f"}}

    yield write
    sys.modules.pop("users_module", None)


def test_it_sees_the_good_rows_the_users_columns_and_the_row_number(steps: Any, define: Define) -> None:
    step = define(
        "import polars as pl\n"
        "def f(rows):\n"
        "    names = rows.collect_schema().names()\n"
        "    return rows.with_columns(names=pl.lit(' '.join(names)), n=pl.len())\n"
    )
    out = steps([{"cast": {"columns": {"a": "int64"}}}, step], {"a": ["1", "x", "3"]})
    assert out.rows("a", "names", "n", "__row") == [(1, "a __row", 2, 0), (3, "a __row", 2, 2)]
    assert list(out.broken) == [(0, 1)]


@pytest.mark.parametrize(
    "body",
    [
        "return rows",
        "return rows.collect()",
        "return rows.collect().to_arrow()",
        "import pyarrow as pa; return pa.table(rows.collect().to_dict(as_series=False))",
    ],
)
def test_it_may_return_any_of_the_tables(steps: Any, define: Define, body: str) -> None:
    assert steps([define(f"def f(rows):\n    {body}\n")], {"a": [1, 2]}).rows("a", "__row") == [
        (1, 0),
        (2, 1),
    ]


def test_an_arrow_table_holds_texts_that_all_of_arrows_functions_know(steps: Any, define: Define) -> None:
    step = define(
        "import pyarrow as pa, pyarrow.compute as pc\n"
        "def f(rows: 'pa.Table') -> 'pa.Table':\n"
        "    return rows.set_column(0, 'a', pc.utf8_upper(rows['a']))\n"
    )
    assert steps([step], {"a": ["x", None]}).rows("a") == [("X",), (None,)]


def test_rows_that_it_makes_or_doubles_are_numbered_anew(steps: Any, define: Define) -> None:
    step = define("import polars as pl\ndef f(rows): return pl.concat([rows, rows])\n")
    assert steps([step], {"a": [1, 2]}).rows("a", "__row") == [(1, 0), (2, 1), (1, 2), (2, 3)]


def test_what_it_raised_is_told_with_the_users_own_line(steps: Any, define: Define) -> None:
    step = define(
        "import polars as pl\n\n\ndef f(rows):\n    return pl.DataFrame({'a': [1]}).get_column('b')\n"
    )
    with pytest.raises(CallableRaised) as failed:
        steps([step], {"a": [1]})
    assert failed.value.where == "users_module.py line 5, \"return pl.DataFrame({'a': [1]}).get_column('b')\""
    assert failed.value.got.startswith("ColumnNotFoundError")


@pytest.mark.parametrize(
    ("source", "got"),
    [
        ("import sys\ndef f(rows): sys.exit('done')", "SystemExit: done"),
        ("def f(): return 1", "TypeError"),
        ("def f(rows): return None", "NoneType"),
        ("import pandas\ndef f(rows): return pandas.DataFrame({'a': [1]})", "DataFrame"),
        ("import pyarrow as pa\ndef f(rows): return pa.table([[1], [2]], ['a', 'a'])", "DuplicateError"),
        (
            "import polars as pl\ndef f(rows): return rows.with_columns(pl.col('a').cast(pl.Int8))",
            "conversion from",
        ),
    ],
)
def test_whatever_it_does_is_blamed_on_it_by_name(steps: Any, define: Define, source: str, got: str) -> None:
    with pytest.raises(CallableRaised, match="users_module:f") as failed:
        steps([define(source + "\n")], {"a": [300]})
    assert got in str(failed.value)
    assert not failed.value.retryable


def test_it_may_not_make_columns_with_names_of_ours(steps: Any, define: Define) -> None:
    step = define("import polars as pl\ndef f(rows): return rows.with_columns(__file=pl.lit(9))\n")
    with pytest.raises(SpecError, match=r"ours: in transforms\[0\], got '__file'|two underscores"):
        steps([step], {"a": [1]})


@pytest.mark.parametrize("source", ["import nobodys_module", "raise SystemExit(3)", "def f(:"])
def test_a_module_that_cannot_be_imported_is_another_error_than_a_function_that_raises(
    define: Define, source: str
) -> None:
    define(source + "\n")
    with pytest.raises(CodeError, match="cannot be imported") as failed:
        load("users_module:f")
    assert not isinstance(failed.value, CallableRaised)


def test_on_a_laptop_a_missing_module_is_missed_beside_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "store.yaml").touch()
    with pytest.raises(CodeError) as failed:
        load("nobodys_module:f")
    assert failed.value.hint == (
        f"It is looked for beside store.yaml ({tmp_path}) and among installed packages"
    )


def test_what_is_no_function_is_refused_with_what_the_module_offers(define: Define) -> None:
    define("f = 7\ndef clean(rows): return rows\n")
    with pytest.raises(CodeError, match="There is: 'clean'"):
        load("users_module:f")
