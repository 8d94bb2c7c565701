"""The part of Polars SQL that specs may use: its tokens, its functions, its types.

Polars runs the text, sqlglot reads it before: two parsers. What they could read differently (comments, escapes,
odd operators, prefixed strings, bare words that one takes for a keyword) is refused here, token by token, before
either sees it. A test runs every function listed here in Polars.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from itertools import pairwise


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MAX_DEPTH = 32
"""Polars' parser ends at 50 levels; its errors there say nothing useful."""

WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      | (?P<comment>--|/\*|\#)
      | (?P<string>'(?:[^'\x00]|'')*')
      | (?P<quoted>"(?:[^"\x00]|"")+")
      | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<operator>[-+*/%=<>!~|&^@:?$\\`{}]+)
      | (?P<mark>[(),.\[\]])
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_OPERATORS = frozenset(
    "+ - * / // % || = == != <> < <= > >= ~ ~* !~ !~* ::".split()  # noqa: SIM905 - one glance shows them all
)
_CLOSED_BY = {"(": ")", "[": "]", "CASE": "END"}
_INSTEAD = {
    "<=>": "Write IS NOT DISTINCT FROM",
    "&&": "Write AND",
    "!": "Write NOT",
    "^": "Write POW(x, y)",
    "&": "Write BIT_AND(x, y)",
    "|": "Write BIT_OR(x, y), or || to join texts",
    "`": "Quote names with double quotes",
    ";": "Write one expression, without a semicolon",
    "~~": "Write LIKE",
    "->": "Write struct.field",
    "^@": "Write STARTS_WITH(text, prefix)",
}
_WORDS_INSTEAD = {
    "ISNULL": "Write IS NULL",
    "NOTNULL": "Write IS NOT NULL",
    "XOR": "Write a <> b",
    "ESCAPE": "LIKE has no ESCAPE here; write a pattern with ~",
    "COLLATE": "Texts are compared by their code points",
    "SIMILAR": "Write a pattern with ~",
    "GLOB": "Write LIKE, or a pattern with ~",
    "RLIKE": "Write a pattern with ~",
    "REGEXP": "Write a pattern with ~",
    "SYMMETRIC": "Write the lesser bound first",
    "UNKNOWN": "Write IS NULL",
    "DIV": "Write DIV(x, y) or x // y",
    "MOD": "Write MOD(x, y) or x % y",
    **dict.fromkeys(
        ["INT8", "INT1"], "Write TINYINT for 8 bits, BIGINT for 64 (Polars reads INT8 as 8 bytes)"
    ),
    **dict.fromkeys(["INT2", "INT16"], "Write SMALLINT"),
    **dict.fromkeys(["INT4", "INT32"], "Write INT"),
    **dict.fromkeys(["INT64", "LONG"], "Write BIGINT"),
    **dict.fromkeys(["FLOAT4", "FLOAT32"], "Write REAL"),
    **dict.fromkeys(["FLOAT8", "FLOAT64"], "Write DOUBLE"),
}


class Use(Enum):
    """Where a function may stand."""

    ROW = auto()
    """Expressions and queries: one answer per row, the same whenever it is asked."""
    RAISES = auto()
    """Queries only: one value that does not fit makes it raise, and so would stop the good rows."""
    AGGREGATE = auto()
    """Queries only: many rows, one answer."""
    WINDOW = auto()
    """Queries only, with OVER: the answer depends on other rows."""


@dataclass(frozen=True, slots=True)
class SqlFunction:
    """A function: number of arguments, and which (from 0) must be literals because Polars wants that."""

    use: Use
    least: int
    most: int
    literals: frozenset[int] = frozenset()


def _row(names: str, least: int, most: int | None = None, *literals: int) -> dict[str, SqlFunction]:
    most = least if most is None else most
    return {name: SqlFunction(Use.ROW, least, most, frozenset(literals)) for name in names.split()}


def _of(use: Use, names: str, least: int, most: int | None = None) -> dict[str, SqlFunction]:
    return {name: SqlFunction(use, least, least if most is None else most) for name in names.split()}


MANY = 64

FUNCTIONS: dict[str, SqlFunction] = {
    **_row("ABS CEIL CEILING FLOOR SIGN SQRT CBRT EXP LN LOG2 LOG10 LOG1P", 1),
    **_row("SIN COS TAN COT ASIN ACOS ATAN SIND COSD TAND COTD ASIND ACOSD ATAND DEGREES RADIANS", 1),
    **_row("ATAN2 ATAN2D DIV MOD LOG POW POWER", 2),
    **_row("PI", 0),
    **_row("ROUND TRUNC TRUNCATE", 1, 2, 1),
    **_row("BIT_COUNT BIT_NOT", 1),
    **_row("BIT_AND BIT_OR BIT_XOR NULLIF IFNULL", 2),
    **_row("COALESCE GREATEST LEAST", 1, MANY),
    **_row("IF", 3),
    **_row("LOWER UPPER INITCAP REVERSE LENGTH CHAR_LENGTH CHARACTER_LENGTH OCTET_LENGTH BIT_LENGTH TRIM", 1),
    **_row("LTRIM RTRIM", 1, 2, 1),
    **_row("LEFT RIGHT", 2, 2, 1),
    **_row("LPAD RPAD", 2, 3, 1, 2),
    **_row("SUBSTR SUBSTRING", 2, 3, 1, 2),
    **_row("STARTS_WITH ENDS_WITH", 2),
    **_row("REGEXP_LIKE", 2, 2, 1),
    **_row("REGEXP_REPLACE REPLACE", 3, 3, 1, 2),
    **_row("SPLIT_PART", 3, 3, 1, 2),
    **_row("CONCAT", 1, MANY),
    **_row("CONCAT_WS", 2, MANY, 0),
    **_row("STRING_TO_ARRAY", 2, 2, 1),
    **_row("ARRAY_LENGTH ARRAY_LOWER ARRAY_UPPER ARRAY_SUM ARRAY_MEAN ARRAY_REVERSE", 1),
    **_row("ARRAY_CONTAINS", 2),
    **_row("ARRAY_GET", 2),
    **_row("ARRAY_TO_STRING", 2, 3, 1, 2),
    **_row("YEAR QUARTER MONTH WEEK DAY DAYOFWEEK HOUR MINUTE SECOND", 1),
    **_row("DATE_PART", 2, 2, 0),
    **_row("STRFTIME", 2, 2, 1),
    **_of(Use.RAISES, "STRPTIME", 2),
    **_of(Use.RAISES, "DATE TIMESTAMP DATETIME TIME", 1, 2),
    **_of(Use.AGGREGATE, "SUM AVG MIN MAX MEDIAN STDDEV VARIANCE FIRST LAST ARRAY_AGG COUNT", 1),
    **_of(Use.AGGREGATE, "QUANTILE_CONT QUANTILE_DISC CORR COVAR_POP", 2),
    **_of(Use.WINDOW, "ROW_NUMBER RANK DENSE_RANK", 0),
    **_of(Use.WINDOW, "LAG LEAD", 1, 2),
    **_of(Use.WINDOW, "FIRST_VALUE LAST_VALUE", 1),
}

REFUSED: dict[str, str] = {
    **dict.fromkeys(
        _words("NOW CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP LOCALTIME LOCALTIMESTAMP"),
        "its answer changes with the time of the run, so the same rows would not give the same result again",
    ),
    **dict.fromkeys(
        _words("RANDOM RAND UUID GEN_RANDOM_UUID"),
        "its answer is another each time, so the same rows would not give the same result again",
    ),
    **dict.fromkeys(("UNNEST", "EXPLODE"), "it changes the number of rows"),
    **dict.fromkeys(("STRPOS", "POSITION"), "Polars reads its text as a pattern; use LIKE or ~"),
    "ARRAY_UNIQUE": "its answer has no certain order, so the same rows would not give the same result again",
    "COLUMNS": "it names columns by pattern; write their names",
}
"""Functions whose reason to be refused is worth saying."""

READERS = re.compile(
    r"^(READ|SCAN|SNIFF)_|_SCAN$|^(GLOB|PARQUET|CSV|IPC|DELTA|ICEBERG|LOAD|INSTALL|HTTP|S3|PG_|SYSTEM|SHELL|GETENV)"
)
"""Names of functions that read files, load extensions or reach out, in any engine."""

DATE_PARTS = _words(
    """YEAR QUARTER MONTH WEEK DAY HOUR MINUTE SECOND MILLISECOND MICROSECOND EPOCH DOW ISODOW DOY ISOYEAR"""
)

TYPES = _words(
    """TINYINT SMALLINT INT INTEGER BIGINT FLOAT REAL DOUBLE VARCHAR TEXT STRING BOOLEAN DATE TIMESTAMP
    TIMESTAMPTZ"""
)


TIMES = frozenset(("DATE", "TIMESTAMP", "TIMESTAMPTZ"))
"""Types of texts such as DATE '2013-01-01'."""

INTERVAL = re.compile(
    r"\d+ (year|quarter|month|week|day|hour|minute|second|millisecond|microsecond)s?"
    r"( \d+ (year|quarter|month|week|day|hour|minute|second|millisecond|microsecond)s?)*"
)

RESERVED = _words(
    """ALL ANY AS BETWEEN CASE CLUSTER CROSS CURRENT_USER DISTINCT ELSE END EXCEPT EXCLUDE EXISTS EXPLAIN
    FETCH FROM FULL GLOBAL GROUP HAVING ILIKE IN INNER INTERSECT INTERVAL INTO IS JOIN LATERAL LIKE
    LIMIT MINUS NATURAL NOT NULL TRUE FALSE OFFSET ON OR ORDER OUTER PIVOT QUALIFY SELECT SESSION_USER SORT STRUCT THEN
    TOP TRIM UNION UNPIVOT USER USING VALUES VIEW WHEN WHERE WINDOW WITH
    CAST TRY_CAST EXTRACT"""
)
"""Words that Polars or sqlglot takes for something else when they stand where a column could."""

CLAUSES = _words("SELECT FROM WHERE UNION INTERSECT EXCEPT INTO GROUP HAVING JOIN LIMIT OFFSET DISTINCT")
"""Words of queries: an expression with one of them wants to be a query."""

WHY = {
    Use.RAISES: "One value that does not fit would stop the good rows of its file. TRY_CAST gives null for it, "
    "a `cast` step sends its row to quarantine",
    Use.AGGREGATE: "It needs other rows, an expression sees one. In a view, use `aggregate`; in a pipeline, an `sql` step",
    Use.WINDOW: "It needs other rows, an expression sees one. In a pipeline, use an `sql` step",
}


class DialectError(Exception):
    """A token that is refused: the reason and what to write instead."""

    def __init__(self, problem: str, got: str, hint: str = "") -> None:
        super().__init__(problem)
        self.problem, self.got, self.hint = problem, got, hint


@dataclass(frozen=True, slots=True)
class Token:
    """``kind``: string, quoted, number, word, operator or mark. ``text``: as written."""

    kind: str
    text: str

    @property
    def word(self) -> str:
        """The upper-case word; "" for anything else."""
        return self.text.upper() if self.kind == "word" else ""


def tokens(text: str) -> list[Token]:
    """The tokens of an expression or a query.

    Raises:
        Odd: a token that two parsers could read differently, or that no expression needs.

    >>> [token.text for token in tokens("a >= 1")]
    ['a', '>=', '1']
    """
    found: list[Token] = []
    glued = False
    for kind, part in _parts(text):
        if kind == "space":
            glued = False
            continue
        if kind == "comment":
            raise DialectError(
                "comments are not allowed in expressions", part, "Put it into the YAML, after a '#'"
            )
        if kind == "other":
            hint = _INSTEAD.get(part, "")
            if part in "'\"":
                hint = "A quote is not closed"
            elif part.isalpha():
                hint = "Put names with other letters than a-z into double quotes"
            raise DialectError("this character has no meaning here", repr(part), hint)
        if kind == "operator" and not _known_operator(part):
            raise DialectError(
                "this operator is not known", repr(part), _INSTEAD.get(part, "Put spaces between operators")
            )
        token = Token(kind, part)
        before = found[-1] if found else Token("mark", "(")
        literals = ("string", "quoted", "number", "word")
        if glued and kind in literals and before.kind in literals:
            raise DialectError(
                "two words without a space", before.text + part, "Put a space or an operator between them"
            )
        if {"number"} < {kind, before.kind} and "." in (part, before.text):
            raise DialectError("a number needs digits on both sides of its point", part, "Write 0.5, not .5")
        if kind == "string" and before.kind == "string":
            raise DialectError("two texts without an operator", part, "Join texts with ||")
        found.append(token)
        glued = True
    for token, after in pairwise([Token("mark", "("), *found, Token("mark", ")")]):
        if token.text == "," and after.text in (",", ")", "]"):
            raise DialectError("a comma without a value after it", repr(text))
        if after.text == "," and (token.text in ("(", "[") or token.kind == "operator"):
            raise DialectError("a comma without a value before it", repr(text))
        if token.kind == "operator" and token.text != "*" and after.text in (")", "]"):
            raise DialectError("an operator without a value after it", repr(text))
        if token.text == "+" and after.kind == "string":
            raise DialectError("a text is not added", repr(after.text), "Join texts with ||")
        if token.text == "." and (after.kind == "number" or after.word in ("TRUE", "FALSE", "NULL")):
            raise DialectError("a point without a name after it", repr(text), "Write 0.5, not .5")
        if token.word in _WORDS_INSTEAD and after.text != "(":
            raise DialectError(
                "this word is not known",
                token.text,
                f'{_WORDS_INSTEAD[token.word]}. A column of this name: "{token.text}"',
            )
    _check_brackets(found)
    return found


def _parts(text: str) -> Iterator[tuple[str, str]]:
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "other"
        part = match.group()
        for comment in ("--", "/*"):
            if kind == "operator" and comment in part:
                kind, part = "comment", comment
        yield kind, part


def _known_operator(part: str) -> bool:
    return part in _OPERATORS or (part[-1] in "+-" and part[:-1] in _OPERATORS - {"::"})


def _check_brackets(found: list[Token]) -> None:
    opened: list[str] = []
    prefixes = 0
    for token in found:
        mark = token.word if token.word in ("CASE", "END") else token.text
        if mark in _CLOSED_BY:
            opened.append(mark)
        elif mark in _CLOSED_BY.values() and (not opened or _CLOSED_BY[opened.pop()] != mark):
            raise DialectError("nothing is open that this could close", repr(token.text))
        prefixes = prefixes + 1 if token.word == "NOT" or token.text in ("-", "+") else 0
        if len(opened) + prefixes > MAX_DEPTH:
            hint = "Compute a part of it in a `derive` step before"
            raise DialectError("too deep", f"more than {MAX_DEPTH} levels", hint)
    if opened:
        raise DialectError(
            "something is open to the end", repr(opened[-1]), f"Close it with {_CLOSED_BY[opened[-1]]}"
        )
