"""The words and signs that specs may use, and those that are refused, with what to write instead.

SQL has dialects: what they read differently (comments, escapes, odd operators, prefixed strings, bare words that one
takes for a keyword) is refused here, before it is parsed. So is what is too long or too deep to be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from featurestore.expressions.signature import MANY
from featurestore.expressions.value_type import BOOL, DATE, FLOAT, INT, TEXT, TIMESTAMP


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MAX_DEPTH = 32
"""Levels of parentheses, CASE, NOT and signs."""
MAX_TOKENS = 2000
"""Words, numbers and signs of one text."""

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
    "|": "Write BIT_OR(x, y), or || to join strings",
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
    "COLLATE": "Strings are compared by their code points",
    "SIMILAR": "Write a pattern with ~",
    "GLOB": "Write LIKE, or a pattern with ~",
    "RLIKE": "Write a pattern with ~",
    "REGEXP": "Write a pattern with ~",
    "SYMMETRIC": "Write the lower bound first",
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


@dataclass(frozen=True, slots=True)
class QueryFunction:
    """A function that only queries may use: how many arguments it takes, and what an expression writes instead."""

    least: int
    most: int
    instead: str


def _query_only(names: str, least: int, most: int, instead: str) -> dict[str, QueryFunction]:
    return {name: QueryFunction(least, most, instead) for name in names.split()}


_OTHER_ROWS = "It needs other rows, and an expression sees only its own. In a pipeline, use an `sql` step"
_MANY_ROWS = "It needs other rows, and an expression sees only its own. In a view, use `aggregate`; in a pipeline, an `sql` step"
_RAISES = (
    "One value that does not fit would fail the whole file. TRY_CAST gives null for it; "
    "a `cast` step sends its row to quarantine"
)
QUERY_ONLY: dict[str, QueryFunction] = {
    **_query_only("SUM AVG MIN MAX MEDIAN STDDEV VARIANCE FIRST LAST ARRAY_AGG COUNT", 1, 1, _MANY_ROWS),
    **_query_only("QUANTILE_CONT QUANTILE_DISC CORR COVAR_POP", 2, 2, _MANY_ROWS),
    **_query_only("ROW_NUMBER RANK DENSE_RANK", 0, 0, _OTHER_ROWS),
    **_query_only("LAG LEAD", 1, 2, _OTHER_ROWS),
    **_query_only("FIRST_VALUE LAST_VALUE", 1, 1, _OTHER_ROWS),
    **_query_only("STRPTIME", 2, 2, _RAISES),
    **_query_only("DATE TIMESTAMP DATETIME TIME", 1, 2, _RAISES),
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
"""Refused functions, and the reason that the error gives."""

READERS = re.compile(
    r"^(READ|SCAN|SNIFF)_|_SCAN$|^(GLOB|PARQUET|CSV|IPC|DELTA|ICEBERG|LOAD|INSTALL|HTTP|S3|PG_|SYSTEM|SHELL|GETENV)"
)
"""Names of functions that read files, load extensions or reach out, in any engine."""

DATE_PARTS = _words(
    """YEAR QUARTER MONTH WEEK DAY HOUR MINUTE SECOND MILLISECOND MICROSECOND EPOCH DOW ISODOW DOY ISOYEAR"""
)

TYPES = {
    "BOOLEAN": BOOL,
    **dict.fromkeys(("TINYINT", "SMALLINT", "INT", "INTEGER", "BIGINT"), INT),
    **dict.fromkeys(("FLOAT", "REAL", "DOUBLE"), FLOAT),
    **dict.fromkeys(("VARCHAR", "TEXT", "STRING"), TEXT),
    "DATE": DATE,
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMPTZ"), TIMESTAMP),
}
"""Types that casts name."""

RESERVED = _words(
    """ALL ANY AS BETWEEN CASE CLUSTER CROSS CURRENT_USER DISTINCT ELSE END EXCEPT EXCLUDE EXISTS EXPLAIN
    FETCH FROM FULL GLOBAL GROUP HAVING ILIKE IN INNER INTERSECT INTERVAL INTO IS JOIN LATERAL LIKE
    LIMIT MINUS NATURAL NOT NULL TRUE FALSE OFFSET ON OR ORDER OUTER PIVOT QUALIFY SELECT SESSION_USER SORT STRUCT THEN
    TOP TRIM UNION UNPIVOT USER USING VALUES VIEW WHEN WHERE WINDOW WITH
    CAST TRY_CAST EXTRACT"""
)
"""Words that Polars or sqlglot takes for something else when they stand where a column could."""

CLAUSES = _words("SELECT FROM WHERE UNION INTERSECT EXCEPT INTO GROUP HAVING JOIN LIMIT OFFSET DISTINCT")
"""Words of queries: an expression with one of them was meant as a query."""


class DialectError(Exception):
    """A token or a call that is refused: the reason and what to write instead."""

    def __init__(self, problem: str, got: str, hint: str = "", wanted: str = "") -> None:
        super().__init__(problem)
        self.problem, self.got, self.hint, self.wanted = problem, got, hint, wanted


def check_function(name: str, text: str) -> DialectError | None:
    """Why no spec may call this function in ``text``; None if there is nothing against it."""
    if name in REFUSED:
        return DialectError(f"{name} is not allowed here", text, f"Because {REFUSED[name]}")
    if READERS.search(name):
        hint = "Name the files in `source`, or join another pipeline with a `lookup` step"
        return DialectError(f"{name} is not allowed: it reads more than the row", text, hint)
    return None


def check_count(name: str, count: int, least: int, most: int) -> DialectError | None:
    """Why a function does not take so many arguments; None if it does."""
    if least <= count <= most:
        return None
    wanted = str(least)
    if most != least:
        wanted += f" to {most}" if most < MANY else " or more"
    return DialectError(f"wrong number of arguments for {name}", f"{count} arguments", wanted=wanted)


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
    scanned: list[Token] = []
    glued = False
    for kind, part in _parts(text):
        if kind == "space":
            glued = False
            continue
        if kind == "comment":
            raise DialectError(
                "comments are not allowed in expressions", part, "Put it in the YAML, after a '#'"
            )
        if kind == "other":
            hint = _INSTEAD.get(part, "")
            if part in "'\"":
                hint = "A quote is not closed"
            elif part.isalpha():
                hint = "Put names with letters other than a-z in double quotes"
            raise DialectError("unexpected character", repr(part), hint)
        if kind == "operator" and not _known_operator(part):
            raise DialectError(
                "unknown operator", repr(part), _INSTEAD.get(part, "Put spaces between operators")
            )
        token = Token(kind, part)
        before = scanned[-1] if scanned else Token("mark", "(")
        literals = ("string", "quoted", "number", "word")
        if glued and kind in literals and before.kind in literals:
            raise DialectError(
                "a space is missing between two words",
                before.text + part,
                "Put a space or an operator between them",
            )
        if {"number"} < {kind, before.kind} and "." in (part, before.text):
            raise DialectError(
                "a number needs digits on both sides of its decimal point", part, "Write 0.5, not .5"
            )
        if kind == "string" and before.kind == "string":
            raise DialectError("two strings without an operator between them", part, "Join strings with ||")
        scanned.append(token)
        glued = True
    for token, after in pairwise([Token("mark", "("), *scanned, Token("mark", ")")]):
        if token.text == "," and after.text in (",", ")", "]"):
            raise DialectError("a comma without a value after it", repr(text))
        if after.text == "," and (token.text in ("(", "[") or token.kind == "operator"):
            raise DialectError("a comma without a value before it", repr(text))
        if token.kind == "operator" and token.text != "*" and after.text in (")", "]"):
            raise DialectError("an operator without a value after it", repr(text))
        if token.text == "+" and after.kind == "string":
            raise DialectError("strings are not added", repr(after.text), "Join strings with ||")
        if token.text == "." and (after.kind == "number" or after.word in ("TRUE", "FALSE", "NULL")):
            raise DialectError("a dot without a name after it", repr(text), "Write 0.5, not .5")
        if token.word in _WORDS_INSTEAD and after.text != "(":
            raise DialectError(
                "unknown word",
                token.text,
                f'{_WORDS_INSTEAD[token.word]}. To name a column, quote it: "{token.text}"',
            )
    _check_brackets(scanned)
    if len(scanned) > MAX_TOKENS:
        hint = "Compute a part of it in a `derive` step before"
        raise DialectError("too long", f"more than {MAX_TOKENS} words, numbers and signs", hint)
    return scanned


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


def _check_brackets(scanned: list[Token]) -> None:
    opened: list[str] = []
    prefixes = 0
    for token in scanned:
        mark = token.word if token.word in ("CASE", "END") else token.text
        if mark in _CLOSED_BY:
            opened.append(mark)
        elif mark in _CLOSED_BY.values() and (not opened or _CLOSED_BY[opened.pop()] != mark):
            raise DialectError("this closes nothing", repr(token.text))
        prefixes = prefixes + 1 if token.word == "NOT" or token.text in ("-", "+") else 0
        if len(opened) + prefixes > MAX_DEPTH:
            hint = "Compute a part of it in a `derive` step before"
            raise DialectError("nested too deeply", f"more than {MAX_DEPTH} levels", hint)
    if opened:
        raise DialectError(
            "this is never closed", repr(opened[-1]), f"Close it with {_CLOSED_BY[opened[-1]]}"
        )
