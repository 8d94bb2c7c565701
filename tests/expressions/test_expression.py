"""What passes is row-wise, runs and names its columns; the rest is refused with the reason."""

from __future__ import annotations

import re

import polars as pl
import pytest

from featurestore.errors import SpecError
from featurestore.expressions.check import check_expression
from featurestore.expressions.functions import FUNCTIONS
from featurestore.expressions.run.program import compile_expression

GOOD = {
    "distance": "i + j * 2 - x / 3.0",
    "division": "i // 2 + j % 2",
    "signs": "- i + +j",
    "sign after an operator": "i > -1 AND x*-1 < 2",
    "comparison": "i = 1 OR i == 2 OR i != 3 OR i <> 4 OR i < j OR i <= j OR i > j OR i >= j",
    "null-safe": "i IS DISTINCT FROM j AND i IS NOT DISTINCT FROM i",
    "null": "i IS NULL OR s IS NOT NULL",
    "truth": "b IS TRUE OR b IS NOT FALSE OR NOT b",
    "between": "i BETWEEN 1 AND 6000 AND x NOT BETWEEN 0 AND 1",
    "in": "s IN ('EWR', 'JFK') OR i NOT IN (1, 2)",
    "like": "s LIKE 'N%' OR s NOT ILIKE 'n%'",
    "pattern": r"s ~ '^N\d+' OR s ~* 'n' OR s !~ 'x' OR s !~* 'x'",
    "join of texts": "s || '-' || i",
    "case": "CASE WHEN i > 1 THEN 'late' WHEN i < 0 THEN 'early' ELSE 'on time' END",
    "case of a value": "CASE i WHEN 1 THEN 'one' END",
    "try_cast": "TRY_CAST(s AS BIGINT) + TRY_CAST(i AS DOUBLE)",
    "time literals": "t > TIMESTAMP '2013-01-01 00:00:00' AND d >= DATE '2013-01-01'",
    "zoned time literal": "tz > TIMESTAMPTZ '2013-01-01 00:00:00+00'",
    "interval": "t + INTERVAL '90 minutes' - INTERVAL '1 day 2 hours'",
    "interval with a unit": "t + INTERVAL '1' DAY",
    "part of a time": "EXTRACT(hour FROM t) + EXTRACT(dow FROM d)",
    "list": "l[1] + ARRAY_GET(l, i)",
    "list literal": "ARRAY_CONTAINS([1, 2], i) OR ARRAY_CONTAINS(ARRAY[1], i)",
    "field of a struct": "st.y + 1",
    "quoted names": '"i" + "j"',
    "quote in a text": "s = 'it''s' OR s = 'a\\' OR s = '\"'",
    "literals": "COALESCE(x, 1e3, 1.5, 9223372036854775807)",
    "no column": "'web'",
    "keywords in any case": "not (i iS nUlL) aNd trUE",
    "over lines": "i\n  + j\t+ 1",
    "long chain": " + ".join(["i"] * 800),
    "deep": "(" * 30 + "i" + ")" * 30,
}

REFUSED = {
    # text: what the message must say
    "": "an expression gives one value",
    "   ": "an expression gives one value",
    "i, j": "an expression gives one value",
    "i AS k": "cannot have an alias",
    "i k": "cannot have an alias",
    "*": "names its columns",
    "i.*": "names its columns",
    "(i": "never closed",
    "//": "without a value after it",
    "i,": "a comma without a value",
    "ABS(i,)": "a comma without a value",
    "lenght(s)": "Did you mean 'LENGTH'?",
    "my_function(s)": "unknown function MY_FUNCTION",
    "ABS(i, j)": "wanted 1, got 2 arguments",
    "SPLIT_PART(s, s, 1)": "takes only a string or a number as argument 2",
    "s LIKE s": "a pattern must be a string literal",
    "s ~ s": "a pattern must be a string literal",
    # the row alone
    "SUM(i)": "In a view, use `aggregate`",
    "COUNT(*)": "COUNT is not allowed in an expression",
    "SUM(i) FILTER (WHERE b)": "not allowed",
    "SUM(i) OVER (PARTITION BY s)": "window functions are not allowed",
    "ROW_NUMBER() OVER (ORDER BY i)": "window functions are not allowed",
    "LAG(i)": "needs other rows",
    "UNNEST(l)": "it changes the number of rows",
    "i IN (SELECT i FROM self)": "subqueries are not allowed",
    "(SELECT MAX(i) FROM self)": "subqueries are not allowed",
    "EXISTS (SELECT 1)": "subqueries are not allowed",
    # the same answer again
    "NOW()": "changes with the time of the run",
    "current_date": "changes with the time of the run",
    "CURRENT_TIMESTAMP": "changes with the time of the run",
    "CURRENT_TIMESTAMP()": "changes with the time of the run",
    "RANDOM()": "another each time",
    "ARRAY_UNIQUE(l)": "no certain order",
    # a bad value must not stop the good rows
    "CAST(s AS BIGINT)": "TRY_CAST gives null for it",
    "s::bigint": "TRY_CAST gives null for it",
    "STRPTIME(s, '%Y')": "a `cast` step sends its row to quarantine",
    "DATE(s)": "would fail the whole file",
    # nothing but the row
    "read_csv('/etc/passwd')": "reads more than the row",
    "READ_PARQUET('s3://b/k')": "reads more than the row",
    "scan_ndjson('x')": "reads more than the row",
    "parquet_scan('x')": "reads more than the row",
    "glob('*')": "reads more than the row",
    "getenv('HOME')": "reads more than the row",
    "i FROM read_csv('/etc/passwd')": "one value of a row",
    "i FROM self": "one value of a row",
    "i WHERE b": "one value of a row",
    "i UNION SELECT 1": "one value of a row",
    "i LIMIT 1": "one value of a row",
    "DISTINCT i": "one value of a row",
    "i INTO OUTFILE 'x'": "one value of a row",
    "i INTO x": "one value of a row",
    "SELECT i": "subqueries are not allowed",
    "AS i": "cannot be parsed",
    "ALL i": "cannot have an alias",
    "i AS": "cannot be parsed",
    ", i": "a comma without a value before it",
    "i BETWEEN 1 2": "cannot be parsed",
    "i) FROM self WHERE (b": "closes nothing",
    "l[1": "this is never closed",
    "CASE WHEN b THEN i": "Close it with END",
    "i ~ 1": "a pattern must be a string literal",
    "DATE '2013-13-01'": "this is not a DATE",
    "TIMESTAMP '2013-01-01'": "this is not a TIMESTAMP",
    "i.null": "a dot without a name",
    "s LIKE + 'a'": "Join strings with ||",
    "1; DROP TABLE self": "without a semicolon",
    "COLUMNS('i')": "names columns by pattern",
    # two parsers, two readings
    "i -- x": "comments",
    "i /* x */": "comments",
    "i /*! + read_csv('x') */": "comments",
    "i # x": "comments",
    "i+--j": "comments",
    "E'a\\nb'": "space is missing",
    "N'a'": "space is missing",
    "X'41'": "space is missing",
    "U&'a'": "unknown operator",
    "'a' 'b'": "two strings without an operator between them",
    "'a\\' || read_csv('x') || '": "A quote is not closed",
    "$$a$$": "unknown operator",
    "$1": "unknown operator",
    ":x": "unknown operator",
    "?": "unknown operator",
    "@x": "unknown operator",
    "{{ x }}": "unknown operator",
    "{fn ABS(i)}": "unknown operator",
    "`i`": "Quote names with double quotes",
    "'open": "A quote is not closed",
    '"open': "A quote is not closed",
    "1_000": "space is missing",
    "0x1F": "space is missing",
    ".5": "Write 0.5, not .5",
    "1.": "Write 0.5, not .5",
    "1.e3": "Write 0.5, not .5",
    "é": "double quotes",
    "ｉ": "double quotes",
    "i\u00a0+ j": "unexpected character",
    "i\u200b": "unexpected character",
    "i\x00": "unexpected character",
    "i ISNULL": "Write IS NULL",
    "i NOTNULL": "Write IS NOT NULL",
    "b XOR b": "Write a <> b",
    "i DIV 2": "Write DIV(x, y)",
    "s LIKE 'a!%' ESCAPE '!'": "no ESCAPE",
    's COLLATE "C"': "code points",
    "i <=> j": "IS NOT DISTINCT FROM",
    "i ^ 2": "Write POW(x, y)",
    "i & 1": "Write BIT_AND(x, y)",
    "b && b": "Write AND",
    "! b": "Write NOT",
    "st->'y'": "Write struct.field",
    "x -> x + 1": "Write struct.field",
    "i << 2": "unknown operator",
    "i IS 5": "cannot be parsed|IS must be followed by",
    "i IN ()": "IN needs values",
    "i IN l": "IN needs values",
    "i = ANY(l)": "unknown function ANY",
    "(i, j)": "not allowed",
    "[i, j]": "only numbers and strings",
    "l[i]": "ARRAY_GET",
    "l[1:2]": "not allowed|only numbers|unknown operator",
    "t AT TIME ZONE 'UTC'": "all times are UTC",
    "TRY_CAST(i AS INT8)": "Polars reads INT8 as 8 bytes",
    "TRY_CAST(i AS JSON)": "unknown type",
    "TRY_CAST(i AS DECIMAL(10, 2))": "unknown type",
    "EXTRACT(fortnight FROM t)": "unknown part of a time",
    "INTERVAL '1 fortnight'": "unknown interval",
    "INTERVAL i": "cannot have an alias",
    "user": 'To name a column, quote it: "user"',
    "TRIM(BOTH 'a' FROM s)": "one value of a row",
    "i +": "without a value after it",
    "(" * 40 + "i" + ")" * 40: "nested too deeply",
    "NOT " * 60 + "b": "nested too deeply",
    "CASE WHEN b THEN " * 60 + "i" + " END" * 60: "nested too deeply",
    "(" * 4000: "nested too deeply",
}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD.keys())
def test_what_passes_runs_and_names_its_columns(text: str, rows: pl.DataFrame) -> None:
    used = check_expression(text, where="spec", columns=rows.columns)
    assert used == {name for name in rows.columns if re.search(rf"\b{name}\b", re.sub("'[^']*'", "", text))}
    assert answers(text, rows).height == rows.height


def answers(text: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Values of an expression, and whether they could be had."""
    program = compile_expression(text, dict(rows.schema), "spec")
    fault = pl.lit(None, pl.Boolean) if program.fault is None else program.fault
    return (
        program.prepare(rows.lazy())
        .with_columns(answer=program.value, fault=fault)
        .select("answer", "fault")
        .collect()
    )


@pytest.mark.parametrize(("text", "reason"), REFUSED.items(), ids=[repr(text)[:40] for text in REFUSED])
def test_what_is_refused_says_why(text: str, reason: str) -> None:
    with pytest.raises(SpecError, match="|".join(_escaped(reason))) as caught:
        check_expression(text, where="spec.filter")
    assert caught.value.where == "spec.filter"
    assert "\x1b" not in str(caught.value)


def _escaped(reason: str) -> list[str]:
    return [re.escape(part) for part in reason.split("|")]


ARGUMENTS = {
    "ARRAY_": "l",
    "BIT_": "i",
    "STRFTIME": "t",
    **dict.fromkeys("YEAR QUARTER MONTH WEEK DAY DAYOFWEEK HOUR MINUTE SECOND".split(), "t"),  # noqa: SIM905
}
CALLS = {
    "ARRAY_CONTAINS": "l, i",
    "ARRAY_GET": "l, 1",
    "ARRAY_TO_STRING": "ls, '-'",
    "BIT_AND": "i, 1",
    "BIT_LENGTH": "s",
    "BIT_OR": "i, j",
    "BIT_XOR": "i, j",
    "CONCAT_WS": "'-', s, s",
    "DATE_PART": "'year', t",
    "DATE_TRUNC": "'hour', t",
    "IF": "b, i, j",
    "LPAD": "s, 9, 'x'",
    "POW": "x, 2",
    "POWER": "x, i",
    "REGEXP_LIKE": r"s, '^N\d'",
    "REGEXP_REPLACE": r"s, '\d', 'x'",
    "RPAD": "s, 9, 'x'",
    "REPLACE": "s, 'N', 'M'",
    "SPLIT_PART": "s, ' ', 1",
    "STRFTIME": "t, '%Y-%m'",
    "STRING_TO_ARRAY": "s, ' '",
    "TRY_STRPTIME": "s, '%Y-%m-%d'",
    "TO_TIMESTAMP": "i",
}
TEXTS = frozenset(
    """LOWER UPPER INITCAP REVERSE LENGTH CHAR_LENGTH CHARACTER_LENGTH OCTET_LENGTH TRIM LTRIM RTRIM LEFT RIGHT
    LPAD RPAD SUBSTR SUBSTRING STARTS_WITH ENDS_WITH CONCAT""".split()  # noqa: SIM905
)


def _arguments(name: str, count: int) -> str:
    if name in CALLS:
        return CALLS[name]
    first = next((column for prefix, column in ARGUMENTS.items() if name.startswith(prefix)), "x")
    if name in TEXTS:
        first = "s"
    rest = "s" if name in ("STARTS_WITH", "ENDS_WITH") else "1" if name != "LOG" else "2.0"
    if name in ("LTRIM", "RTRIM"):
        rest = "'N'"
    if name in ("DIV", "MOD"):
        first = "i"
    return ", ".join([first, *[rest] * (count - 1)][:count])


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_function_runs_row_by_row(name: str, rows: pl.DataFrame) -> None:
    function = FUNCTIONS[name]
    for count in sorted({function.least, min(function.most, 3)}):
        text = f"{name}({_arguments(name, count)})"
        check_expression(text, where="spec", columns=rows.columns)
        parts = [answers(text, rows[n : n + 1]) for n in range(3)]
        assert pl.concat(parts).equals(answers(text, rows))


def test_columns_are_compared_with_those_there_are() -> None:
    with pytest.raises(SpecError, match=r"unknown column 'tailnmu'.*Did you mean 'tailnum'"):
        check_expression("tailnmu IS NULL", where="spec", columns=["tailnum", "carrier"])


def test_names_of_columns_keep_their_case() -> None:
    assert check_expression('"Tail Num" = Carrier', where="spec") == {"Tail Num", "Carrier"}
    with pytest.raises(SpecError, match="unknown column 'Carrier'"):
        check_expression("Carrier IS NULL", where="spec", columns=["carrier"])


def test_columns_that_are_not_known_yet_are_not_compared() -> None:
    assert check_expression("a + b", where="spec") == {"a", "b"}
