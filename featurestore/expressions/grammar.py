"""Text to syntax tree: the only parser of expressions and queries. sqlglot parses; what it would overlook is refused."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING

from featurestore.errors import SpecError
from featurestore.expressions.dialect import CLAUSES, MAX_DEPTH, DialectError, Token, tokens

if TYPE_CHECKING:
    from sqlglot import exp
    from sqlglot.dialects.dialect import Dialect

STEP = "An `sql` step can do more with the rows of a file, `aggregate` in a view with those of an entity"


# Who checks an expression compiles it next.
@lru_cache(maxsize=8)
def parse_expression(text: str, where: str) -> exp.Expr:
    """The syntax tree of one value of a row, which nobody may change.

    Raises:
        SpecError: it is something else.
    """
    from sqlglot import exp

    ours = _tokens(text, where)
    select = _parse(f"SELECT ({text})", text, where, ours, query=False)
    if not isinstance(select, exp.Select) or any(
        value for key, value in select.args.items() if key != "expressions"
    ):
        raise SpecError(
            "an expression computes one value of a row", where=where, got="clauses of a query", hint=STEP
        )
    (root,) = select.expressions
    if isinstance(root, exp.Tuple):
        raise SpecError("an expression gives one value", where=where, got=f"{len(root.expressions)} values")
    if isinstance(root.this, exp.Alias):
        hint = "The name belongs in the YAML. Or the operator before it is unknown"
        got = f"the name {root.this.alias!r} after it"
        raise SpecError("an expression cannot have an alias", where=where, got=got, hint=hint)
    # Each AND and AS has its place: sqlglot passes over some that have none.
    words = [token.word for token in ours]
    casts = words.count("CAST") + words.count("TRY_CAST")
    ands = sum(1 for _ in root.find_all(exp.And, exp.Between))
    if words.count("AND") != ands or words.count("AS") > casts:
        hint = "There is an AND or an AS too many or too few"
        raise SpecError("this cannot be parsed", where=where, got=repr(text), hint=hint)
    _check_depth(root, where)
    tree: exp.Expr = root.this
    return tree


def parse_query(text: str, where: str) -> exp.Select:
    """The syntax tree of one SELECT.

    Raises:
        SpecError: it is something else.
    """
    from sqlglot import exp

    ours = _tokens(text, where)
    if not ours or ours[0].word not in ("SELECT", "WITH", ""):
        got = ours[0].text if ours else "nothing"
        raise SpecError("only one SELECT is allowed", where=where, got=got)
    root = _parse(text, text, where, ours, query=True)
    if not isinstance(root, exp.Select):
        raise SpecError("only one SELECT is allowed", where=where, got=root.key.upper())
    _check_depth(root, where)
    return root


def _tokens(text: str, where: str) -> list[Token]:
    try:
        return tokens(text)
    except DialectError as odd:
        raise SpecError(odd.problem, where=where, got=odd.got, hint=odd.hint) from odd


def _parse(sql: str, text: str, where: str, ours: list[Token], *, query: bool) -> exp.Expr:
    import sqlglot
    from sqlglot.errors import SqlglotError

    try:
        (root,) = sqlglot.parse(sql, dialect=_dialect())
    except (SqlglotError, RecursionError, ValueError) as error:
        if not query and any(token.word in CLAUSES for token in ours):
            raise SpecError(
                "an expression computes one value of a row", where=where, got="clauses of a query", hint=STEP
            ) from error
        wanted = "one SELECT over the table `self`" if query else "an expression"
        raise SpecError(
            "this cannot be parsed", where=where, wanted=wanted, got=repr(text), hint=_first_line(error)
        ) from error
    if root is None:
        raise SpecError("the text is empty", where=where, got=repr(text))
    return root


def _check_depth(root: exp.Expr, where: str) -> None:
    """Raises SpecError if reading the tree would go too deep. Chains such as ``a + b + c`` count as one level."""
    from sqlglot import exp

    waiting = [(root, 0)]
    while waiting:
        node, depth = waiting.pop()
        if depth > 4 * MAX_DEPTH:
            hint = "Compute a part of it in a `derive` step before"
            raise SpecError("nested too deeply", where=where, got=f"more than {MAX_DEPTH} levels", hint=hint)
        chain = isinstance(node, (exp.Binary, exp.Connector))
        waiting.extend(
            (child, depth if chain and child is node.this else depth + 1) for child in node.iter_expressions()
        )


def _first_line(error: Exception) -> str:
    """The parser's message, without the colors that it puts around the place."""
    return str(error).replace("\x1b[4m", "").replace("\x1b[0m", "").split("\n")[0].split(". Line ")[0]


@cache
def _dialect() -> Dialect:
    """A dialect that knows operators and CASE, and takes every function for what it is called."""
    import sqlglot
    from sqlglot import TokenType, exp
    from sqlglot.dialects.dialect import Dialect
    from sqlglot.parser import binary_range_parser

    # Tokens of words that `dialect.py` refuses stand for the operators that sqlglot does not have.
    operators = {
        "//": TokenType.DIV,
        "~": TokenType.RLIKE,
        "~*": TokenType.IRLIKE,
        "!~": TokenType.GLOB,
        "!~*": TokenType.SIMILAR_TO,
    }
    base = sqlglot.Parser

    class Specs(Dialect):
        class Tokenizer(sqlglot.Tokenizer):
            KEYWORDS = {  # noqa: RUF012 - sqlglot's way to define a dialect
                **{
                    key: kind
                    for key, kind in sqlglot.Tokenizer.KEYWORDS.items()
                    if key not in ("DIV", "GLOB", "SIMILAR TO")
                },
                **operators,
            }

        class Parser(sqlglot.Parser):
            FUNCTIONS = {}  # noqa: RUF012
            FUNCTION_PARSERS = {  # noqa: RUF012
                name: parse
                for name, parse in base.FUNCTION_PARSERS.items()
                if name in ("CAST", "TRY_CAST", "EXTRACT")
            }
            NO_PAREN_FUNCTIONS = {}  # noqa: RUF012
            NO_PAREN_FUNCTION_PARSERS = {  # noqa: RUF012
                "CASE": base.NO_PAREN_FUNCTION_PARSERS["CASE"]
            }
            RANGE_PARSERS = {  # noqa: RUF012
                **base.RANGE_PARSERS,
                TokenType.GLOB: lambda self, this: exp.Not(
                    this=binary_range_parser(exp.RegexpLike)(self, this)
                ),
                TokenType.SIMILAR_TO: lambda self, this: exp.Not(
                    this=binary_range_parser(exp.RegexpILike)(self, this)
                ),
            }

    return Specs()
