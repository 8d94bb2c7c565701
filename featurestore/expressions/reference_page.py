"""``docs/expressions.md``: the reference of expressions, written from the table of functions.

``python -m featurestore.expressions.reference_page docs/expressions.md`` writes it; a test fails when it differs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from featurestore.expressions.constants import MAX_CONSTANT
from featurestore.expressions.dialect import MAX_DEPTH, MAX_TOKENS
from featurestore.expressions.functions import FUNCTIONS
from featurestore.expressions.operators import OPERATORS
from featurestore.expressions.query_text import QUERY_NAMES
from featurestore.expressions.signature import Group, SqlFunction

_OPENING = f"""# Expressions

<!-- Written by `make expressions` from featurestore/expressions/functions.py. -->

An expression is one value of a row, in SQL: in `filter` and `derive` steps, expectations, a view's `filter` and its
features' `expression`. It is read once, checked, and what was checked is what runs: the same everywhere. What can be
known of types (declared columns, casts, literals) is checked by `apply`.

## What values are

| type | columns | literals |
|---|---|---|
| int | all whole numbers, and decimals without places after the point, as int64 | `60`, `-1` |
| float | float32, float64 and other decimals, as float64 | `60.0`, `1e3` |
| text | string | `'N14228'`, `'it''s'` |
| bool | bool | `TRUE`, `FALSE` |
| date | date | `DATE '2013-01-31'` |
| timestamp | all times, as microseconds in UTC; without a zone they are UTC | `TIMESTAMP '2013-01-31 10:00:00'` |
| interval | durations | `INTERVAL '90 minutes'`, `INTERVAL '1 day 2 hours'` |
| list, struct | list, struct | `[1, 2]` |

A whole number becomes a float, and a date the timestamp of its midnight, where the other kind is wanted. Nothing else
changes its type by itself: write `TRY_CAST(x AS type)`. Names with other letters than a-z, `_` and digits stand in double quotes.

* **Whole numbers never wrap.** What leaves int64 is refused by `apply` where the spec alone says it (`9223372036854775807 + 1`).
  Else the row goes to quarantine, with the rule `derive:NAME`, `filter`, `feature:NAME` or the expectation's name. A chain
  of `+` and `-` is added exactly; its result is what must fit.
* **Division** is of real numbers: `7 / 2` is 3.5. Where a divisor is 0, `/`, `//` and `%` give null.
* **Null** is unknown: `x = NULL` is null, `FALSE AND NULL` is false. Conditions that are null do not hold: a filter drops
  the row, an expectation is not met.
* **NaN** equals NaN and is greater than every other number; -0.0 equals 0.0. Whole numbers and floats compare exactly.
  In arithmetic with a float, a whole number beyond 2^53 is rounded to the nearest float. Where it is only chosen beside
  floats (CASE, IF, COALESCE, NULLIF, GREATEST, LEAST), a row with one that would be rounded goes to quarantine.
* **Decimals** are computed with as floats. TRY_CAST, and `||` with a text, take them as they are.
* **Times** that an operation makes lie in the years 1 to 9999; a row with another goes to quarantine. A month is added by
  the calendar: January 31 and a month is the last of February.
* **What is not asked for is not computed**: behind `AND` after false, `OR` after true, in branches of CASE and IF that are
  not taken, in COALESCE after a value. It cannot send a row to quarantine.
* **The same rows give the same values**, bit by bit, in every run: an expression knows its row and nothing else.

## Bounds

An expression has at most {MAX_TOKENS} words, numbers and signs, {MAX_DEPTH} levels of parentheses, and texts such as patterns of
{MAX_CONSTANT} characters. Counted repetitions in a pattern multiply to at most 1000. A text that an expression makes may be
8 times as long as the row's texts that it is made of, or 4096 bytes; a row whose text would be longer goes to quarantine.
"""
_QUERIES = """## Queries

An `sql` step is one SELECT over the table `self`: the good rows of one file. It runs in DuckDB with one thread, which
reads, groups, adds and joins the rows in one order: so the same rows give the same rows, in the same order, with the same
bits, in each run, also where ORDER BY leaves ties, with LIMIT, and in sums of floats. A query that says no order has its
rows sorted. It may take half of `spec.resources.memory` and 300 seconds: a file whose query takes more goes to quarantine and
says so.

Literals, `/`, `//`, `%` and times are as in expressions. A whole number that leaves int64, and a value outside of what a
function takes, such as `SQRT(-1)`, sends its file to quarantine: a query has no row of its own to blame. Names are not told
apart by capital letters. Functions of rows:

{functions}

Besides these: `SUM`, `AVG`, `MIN`, `MAX`, `COUNT`, `MEDIAN`, `STDDEV`, `VARIANCE`, `FIRST`, `LAST`, `ARRAY_AGG`,
`QUANTILE_CONT`, `QUANTILE_DISC`, `CORR`, `COVAR_POP`, and with OVER `ROW_NUMBER`, `RANK`, `DENSE_RANK`, `LAG`, `LEAD`,
`FIRST_VALUE`, `LAST_VALUE`. Other functions of expressions stand in a `derive` step before or after.
"""


def page() -> str:
    """The page."""
    parts = [_OPENING]
    functions = list(dict.fromkeys((*OPERATORS, *FUNCTIONS.values())))
    for group in Group:
        parts.append(f"## {group}\n")
        parts.append("| | takes and gives | meaning | nulls | example |\n|---|---|---|---|---|")
        parts.append("\n".join(_line(one) for one in functions if one.group is group) + "\n")
    names = ", ".join(f"`{name}`" for name in sorted(QUERY_NAMES & FUNCTIONS.keys()))
    parts.append(_QUERIES.replace("{functions}", names))
    return "\n".join(parts)


def examples() -> Iterator[tuple[str, str]]:
    """Each example and its result, both expressions."""
    for one in dict.fromkeys((*OPERATORS, *FUNCTIONS.values())):
        if one.example:
            yield one.example, one.result


def _line(one: SqlFunction) -> str:
    operator = one.group is Group.OPERATORS
    written = [name.replace("_", " ") if operator else name for name in (one.name, *one.aliases)]
    names = ", ".join(f"`{_cell(name)}`" for name in written)
    signatures = "<br>".join(f"`{_cell(signature.text)}`" for signature in one.signatures)
    example = f"`{_cell(one.example)}` → `{_cell(one.result)}`" if one.example else ""
    return f"| {names} | {signatures} | {_cell(one.meaning)} | {one.nulls} | {example} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page())
