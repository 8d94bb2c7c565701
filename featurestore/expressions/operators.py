"""Operators: their part of the table that ``functions.py`` has."""

from __future__ import annotations

from featurestore.expressions.signature import Group, SqlFunction, row

_SAME = "int -> int | float -> float"
_ADDED = (
    "int, int -> int | float, float -> float | timestamp, interval -> timestamp | interval, timestamp -> timestamp"
    " | interval, interval -> interval"
)
_SUBTRACTED = (
    "int, int -> int | float, float -> float | timestamp, interval -> timestamp"
    " | timestamp, timestamp -> interval | interval, interval -> interval"
)
_MULTIPLIED = (
    "int, int -> int | float, float -> float | interval, int -> interval | int, interval -> interval"
    " | interval, float -> interval | float, interval -> interval"
)
_COMPARED = "T, T -> bool"
_FITS = "The sum of whole numbers is exact; a row whose result leaves int64 goes to quarantine."

OPERATORS: tuple[SqlFunction, ...] = (
    row(Group.OPERATORS, "+", _ADDED, _FITS, "2147483647 + 1", "2147483648"),
    row(Group.OPERATORS, "-", _SUBTRACTED, "As `+`. Between two times it is an interval.", "1.5 - 2", "-0.5"),
    row(Group.OPERATORS, "NEG", _SAME, "`-x`: the negative.", "-(5)", "-5"),
    row(
        Group.OPERATORS,
        "*",
        _MULTIPLIED,
        "The product. One of whole numbers is exact; a row whose result leaves int64 goes to quarantine. An interval"
        " times a number is rounded to the microsecond.",
        "24 * 3600 * 1000 * 1000",
        "86400000000",
    ),
    row(
        Group.OPERATORS,
        "/",
        "float, float -> float",
        "Division of real numbers, also between whole ones. Division by zero gives null.",
        "7 / 2",
        "3.5",
        "Null if an argument is null, or the divisor is 0.",
    ),
    row(
        Group.OPERATORS,
        "//",
        "int, int -> int | float, float -> float",
        "The quotient without its fraction, rounded toward zero; also `DIV(x, y)`.",
        "-7 // 2",
        "-3",
        "Null if an argument is null, or the divisor is 0.",
    ),
    row(
        Group.OPERATORS,
        "%",
        "int, int -> int | float, float -> float",
        "What `//` leaves, with the sign of the dividend; also `MOD(x, y)`.",
        "-7 % 2",
        "-1",
        "Null if an argument is null, or the divisor is 0.",
    ),
    row(
        Group.OPERATORS,
        "||",
        "text, text -> text",
        "Two texts as one. Numbers, truth values and dates become their texts.",
        "'N' || 1",
        "'N1'",
    ),
    *(
        row(Group.OPERATORS, name, _COMPARED, meaning, example, "TRUE")
        for name, meaning, example in (
            (
                "=",
                "Equal; also `==`. Whole numbers and floats compare exactly; NaN equals NaN, -0.0 equals 0.0.",
                "1 = 1.0",
            ),
            ("<>", "Not equal; also `!=`.", "1 <> 2"),
            (
                "<",
                "Less. NaN is greater than every other number, TRUE than FALSE; texts compare by code points.",
                "1 < 1.5",
            ),
            ("<=", "Less or equal.", "1 <= 1"),
            (">", "Greater.", "'b' > 'a'"),
            (">=", "Greater or equal.", "DATE '2013-01-02' >= DATE '2013-01-01'"),
        )
    ),
    row(
        Group.OPERATORS,
        "IS_DISTINCT",
        _COMPARED,
        "`x IS [NOT] DISTINCT FROM y`: compares as `<>` does, and null equals null.",
        "NULL IS DISTINCT FROM 1",
        "TRUE",
        "Never null.",
    ),
    row(
        Group.OPERATORS,
        "BETWEEN",
        "T, T, T -> bool",
        "`x BETWEEN low AND high`: `x >= low AND x <= high`. `NOT BETWEEN` is its negation.",
        "2 BETWEEN 1 AND 3",
        "TRUE",
        "As AND.",
    ),
    row(
        Group.OPERATORS,
        "IN",
        "T, T* -> bool",
        "`x IN (a, b, …)`: equal to one of them. `NOT IN` is its negation.",
        "'EWR' IN ('EWR', 'JFK')",
        "TRUE",
        "Null if x is null, or a value is null and none equals x.",
    ),
    row(
        Group.OPERATORS,
        "AND",
        "bool, bool* -> bool",
        "True if all are. What stands after a false one is not computed, so it cannot send a row to quarantine.",
        "TRUE AND 1 < 2",
        "TRUE",
        "False if one is false, else null if one is null.",
    ),
    row(
        Group.OPERATORS,
        "OR",
        "bool, bool* -> bool",
        "True if one is. What stands after a true one is not computed.",
        "FALSE OR 1 < 2",
        "TRUE",
        "True if one is true, else null if one is null.",
    ),
    row(Group.OPERATORS, "NOT", "bool -> bool", "The opposite.", "NOT FALSE", "TRUE"),
    row(
        Group.OPERATORS, "IS_NULL", "any -> bool", "`x IS [NOT] NULL`.", "NULL IS NULL", "TRUE", "Never null."
    ),
    row(
        Group.OPERATORS,
        "IS_TRUE",
        "bool -> bool",
        "`x IS [NOT] TRUE`, and the same with FALSE.",
        "NULL IS NOT TRUE",
        "TRUE",
        "Never null.",
    ),
    row(
        Group.OPERATORS,
        "LIKE",
        "text, text! -> bool",
        "Whether a text has a pattern's form: `%` is any text, `_` any character. `ILIKE` ignores case.",
        "'N14228' LIKE 'N%'",
        "TRUE",
    ),
    row(
        Group.OPERATORS,
        "~",
        "text, text! -> bool",
        "Whether a regular expression is found in a text; `~*` ignores case, `!~` and `!~*` are the negations.",
        "'N14228' ~ '^N[0-9]+$'",
        "TRUE",
    ),
    row(
        Group.OPERATORS,
        "CASE",
        "T, T* -> T",
        "`CASE WHEN condition THEN value … ELSE value END`, or `CASE x WHEN value THEN …`: the first that holds.",
        "CASE WHEN 1 > 2 THEN 'a' ELSE 'b' END",
        "'b'",
        "Null if none holds and there is no ELSE. A null condition does not hold.",
    ),
    row(
        Group.OPERATORS,
        "TRY_CAST",
        "any -> any",
        "`TRY_CAST(x AS type)`: the value in BOOLEAN, TINYINT, SMALLINT, INT, BIGINT, REAL, DOUBLE, VARCHAR, DATE or"
        " TIMESTAMP if that type gives it back unchanged.",
        "TRY_CAST('2013-01-31' AS DATE)",
        "DATE '2013-01-31'",
        "Null if it does not fit.",
    ),
    row(
        Group.OPERATORS,
        "FIELD",
        "any -> any",
        "`struct.field`: a field of a struct.",
        "",
        "",
    ),
)
