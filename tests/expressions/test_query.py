"""A query is one SELECT over `self`; it reads no other table, no file, and writes nothing."""

from __future__ import annotations

import re

import polars as pl
import pytest

from featurestore.errors import SpecError
from featurestore.expressions.dialect import QUERY_ONLY
from featurestore.expressions.query_text import query_text
from featurestore_transforms.steps.query_engine import answer

GOOD = {
    "all": "SELECT * FROM self",
    "columns": "SELECT i, j AS k, x + 1 AS y FROM self WHERE i IS NOT NULL",
    "groups": "SELECT s, COUNT(*) AS n, SUM(i) AS total FROM self GROUP BY s HAVING COUNT(*) > 0 ORDER BY n DESC",
    "cte": "WITH late AS (SELECT * FROM self WHERE i > 1) SELECT s, COUNT(*) AS n FROM late GROUP BY s",
    "two ctes": "WITH a AS (SELECT i FROM self), b AS (SELECT i + 1 AS i FROM a) SELECT * FROM b",
    "join": "WITH m AS (SELECT s, MAX(i) AS most FROM self GROUP BY s) SELECT self.i, m.most FROM self JOIN m ON self.s = m.s",
    "subquery": "SELECT i FROM (SELECT i FROM self WHERE b) AS q",
    "in": "SELECT i FROM self WHERE i IN (SELECT j FROM self)",
    "window": "SELECT i, SUM(i) OVER (PARTITION BY s) AS total, ROW_NUMBER() OVER (ORDER BY i DESC) AS n FROM self",
    "distinct": "SELECT DISTINCT s FROM self LIMIT 5 OFFSET 1",
    "qualify": "SELECT i, s FROM self QUALIFY ROW_NUMBER() OVER (PARTITION BY s ORDER BY i) = 1",
    "cast": "SELECT CAST(i AS DOUBLE) AS x, i::varchar AS s FROM self",
    "filter": "SELECT COUNT(*) FILTER (WHERE i > 1) AS n FROM self",
    "alias of the table": "SELECT q.i FROM self AS q WHERE q.i > 0",
    "lag": "SELECT i, LAG(i, 1) OVER (ORDER BY t) AS before FROM self",
}

REFUSED = {
    "SELECT LPAD(s, 2000000000) AS a FROM self": "LPAD is not allowed in a query",
    "SELECT REPLACE(REPLACE(s, 'a', 'b'), 'b', 'c') AS a FROM self": "REPLACE is not allowed in a query",
    "SELECT 9223372036854775808 AS a FROM self": "an integer is out of the range of int64",
    "SELECT " + " + ".join(["i"] * 8000) + " AS a FROM self": "more than 2000 words",
    "": "cannot be parsed|the text is empty|only one SELECT",
    "i + 1": "only one SELECT|cannot be parsed",
    "SELECT i FROM read_csv('/etc/passwd')": "table functions are not allowed",
    "SELECT i FROM READ_PARQUET('x')": "table functions are not allowed",
    "SELECT i FROM self, read_csv('x')": "table functions are not allowed",
    "SELECT i FROM self JOIN read_csv('x') AS r ON self.i = r.i": "table functions are not allowed",
    "SELECT i FROM self WHERE i IN (SELECT i FROM read_csv('x'))": "table functions are not allowed",
    "SELECT (SELECT MAX(i) FROM read_csv('x')) AS m FROM self": "table functions are not allowed",
    "WITH q AS (SELECT * FROM read_csv('x')) SELECT * FROM q": "table functions are not allowed",
    "SELECT read_csv('x') FROM self": "reads more than the row",
    "SELECT i FROM planes": "reads the table `self` and nothing else",
    "SELECT i FROM \"read_csv('x')\"": "reads the table `self` and nothing else",
    "SELECT i FROM 'x.csv'": "cannot be parsed|nothing else|tables",
    'SELECT i FROM "x.csv"': "reads the table `self` and nothing else",
    "SELECT i FROM main.self": "reads the table `self` and nothing else",
    "SELECT i FROM slef": "Did you mean 'self'?",
    "SELECT i FROM SELF": "Did you mean 'self'?|nothing else",
    "SELECT i INTO z FROM self": "cannot write",
    "CREATE TABLE z AS SELECT * FROM self": "only one SELECT",
    "INSERT INTO self SELECT * FROM self": "only one SELECT",
    "DELETE FROM self": "only one SELECT",
    "UPDATE self SET i = 1": "only one SELECT",
    "DROP TABLE self": "only one SELECT",
    "TRUNCATE TABLE self": "only one SELECT",
    "COPY self TO 'x'": "only one SELECT",
    "EXPLAIN SELECT * FROM self": "only one SELECT",
    "SHOW TABLES": "only one SELECT",
    "VALUES (1)": "only one SELECT",
    "SELECT i FROM self UNION ALL SELECT j FROM self": "only one SELECT",
    "SELECT i FROM self; SELECT 1": "semicolon",
    "SELECT i FROM self;": "semicolon",
    "SELECT i FROM self -- all of them": "comments",
    "WITH self AS (SELECT 1 AS i) SELECT * FROM self": "is reserved",
    'WITH "SELF" AS (SELECT 1 AS i) SELECT * FROM self': "is reserved",
    "WITH RECURSIVE q AS (SELECT 1 AS i) SELECT * FROM q": "recursion",
    "SELECT NOW() FROM self": "changes with the time of the run",
    "SELECT RANDOM() FROM self": "another each time",
    "SELECT u FROM self, UNNEST([1, 2]) AS t(u)": "not allowed|tables",
    "SELECT i FROM self LATERAL VIEW EXPLODE(l) v AS e": "not allowed|cannot be parsed",
    "SELECT i FROM self TABLESAMPLE (10)": "not allowed|cannot be parsed",
    "SELECT i FROM self FOR UPDATE": "not allowed|cannot be parsed",
    "SELECT i FROM self WHERE cuont(i) > 1": "Did you mean 'COUNT'?",
    "SELECT i FROM self GROUP BY CUBE (i)": "not allowed|unknown function",
}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD.keys())
def test_what_passes_runs(text: str, rows: pl.DataFrame) -> None:
    assert answer(rows, query_text(text, where="spec"), "spec", max_bytes=1 << 30).width > 0


@pytest.mark.parametrize(("text", "reason"), REFUSED.items(), ids=[repr(text)[:60] for text in REFUSED])
def test_what_is_refused_says_why(text: str, reason: str) -> None:
    with pytest.raises(SpecError, match="|".join(map(re.escape, reason.split("|")))) as caught:
        query_text(text, where="spec.transforms[0].sql.query")
    assert caught.value.where == "spec.transforms[0].sql.query"


CALLS = {
    "QUANTILE_CONT": "x, 0.5",
    "QUANTILE_DISC": "x, 0.5",
    "CORR": "i, x",
    "COVAR_POP": "i, x",
    "STRPTIME": "STRFTIME(t, '%Y-%m-%d'), '%Y-%m-%d'",
    "DATE": "'2013-01-01'",
    "DATETIME": "'2013-01-01'",
    "TIMESTAMP": "'2013-01-01'",
    "TIME": "'10:00'",
    "RANK": "",
    "DENSE_RANK": "",
    "ROW_NUMBER": "",
}


WINDOWS = ("ROW_NUMBER", "RANK", "DENSE_RANK", "LAG", "LEAD", "FIRST_VALUE", "LAST_VALUE")


@pytest.mark.parametrize("name", sorted(QUERY_ONLY))
def test_every_function_of_queries_runs(name: str, rows: pl.DataFrame) -> None:
    over = " OVER (ORDER BY i)" if name in WINDOWS else ""
    text = f"SELECT {name}({CALLS.get(name, 'i')}){over} AS answer FROM self"
    assert answer(rows, query_text(text, where="spec"), "spec", max_bytes=1 << 30).columns == ["answer"]
