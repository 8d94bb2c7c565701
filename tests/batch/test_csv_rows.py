"""CSV: the rows that keep to the grammar are taken, and no other line becomes a row."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
from collections.abc import Callable
from typing import Any

import pytest
from examples import examples, exhaustive
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.resources.text_format import CsvOptions
from featurestore_transforms.sources.csv_grammar import CsvGrammar

Make = Callable[..., Any]


def taken(p: Any, data: bytes | str, *columns: str) -> list[Any]:
    """The rows of a file with these bytes."""
    (p.raw / "a").write_bytes(data.encode() if isinstance(data, str) else data)
    p.batch("a")
    return p.rows(*columns)


def reasons(p: Any) -> list[tuple[int | None, str]]:
    return [(row["__row"], row["reason"]) for row in p.quarantine()]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('2,a"b', "a quote inside a value that does not begin with one"),
        ('2,"a"b', "text after a closing quote"),
        ('2, "a"', "a quote inside a value that does not begin with one"),
        ('2,"a" ', "text after a closing quote"),
        ('"2,"a', "text after a closing quote"),
        ("2", "wanted 2 values, got 1"),
        ("2,a,b", "wanted 2 values, got 3"),
    ],
)
def test_a_line_that_breaks_the_grammar_is_a_malformed_row_and_hides_no_other(
    pipeline: Make, line: str, said: str
) -> None:
    p = pipeline()
    assert [row["id"] for row in taken(p, f"id,v\n1,x\n{line}\n3,y\n", "id")] == [1, 3]
    [(row, reason)] = reasons(p)
    assert row == 1
    assert reason.startswith(said)


def test_a_quote_that_is_never_closed_hides_no_line_that_is_a_row(pipeline: Make) -> None:
    p = pipeline()
    assert [row["id"] for row in taken(p, 'id,v\n1,x\n2,"y\n3,z\n4,"q"\n5,r\n', "id")] == [1, 3, 4, 5]
    assert [row for row, _ in reasons(p)] == [1]


def test_lines_that_may_be_of_a_broken_value_are_not_taken_for_rows(pipeline: Make) -> None:
    p = pipeline()
    assert [row["id"] for row in taken(p, 'id,v\n1,x\n2,"y\nonly text\n3,z" oops\n4,q\n', "id")] == [1, 4]
    [(row, reason)] = reasons(p)
    assert row == 1
    assert "only text" in reason


def test_what_bad_bytes_and_too_many_values_share_a_line_with_is_taken(pipeline: Make) -> None:
    p = pipeline()
    assert [row["id"] for row in taken(p, b"id,v\n1,x\n2,\xff,more\n3,y\n4,\xfe\n", "id")] == [1, 3]
    assert [reason.partition(":")[0] for _, reason in reasons(p)] == ["not UTF-8", "not UTF-8"]


def test_the_csv_of_pandas_and_r_is_taken_with_its_index(pipeline: Make) -> None:
    p = pipeline()
    assert taken(p, ",id,v\n0,a,2\n1,b,3\n", "column_1", "id", "v") == [
        {"column_1": 0, "id": "a", "v": 2},
        {"column_1": 1, "id": "b", "v": 3},
    ]


@pytest.mark.parametrize(
    ("options", "data"),
    [
        ({"skipLines": 2}, "exported,today,by me\n\nid;v\n1;x\n"),
        ({"comment": "#"}, '# exported "today\nid;v\n# more\n1;x\n#end'),
        ({"quote": "'"}, "id;v\n'1';'x'\n"),
        ({"encoding": "UTF-16"}, "id;v\n1;x\n".encode("utf-16")),
        ({"encoding": "UTF-8"}, codecs.BOM_UTF8 + b"id;v\n1;x\n"),
        ({}, "id;v\r\n1;x\r\n"),
        ({}, "id;v\r1;x"),
    ],
)
def test_options_say_how_a_file_is_read(pipeline: Make, options: dict[str, Any], data: bytes | str) -> None:
    p = pipeline(source={"csv": {"delimiter": ";", **options}})
    assert taken(p, data, "id", "v") == [{"id": 1, "v": "x"}]
    assert p.quarantine() == []


def test_an_escape_takes_its_meaning_from_a_delimiter_and_a_quote(pipeline: Make) -> None:
    p = pipeline(source={"csv": {"escape": "\\"}})
    assert taken(p, 'id,v\na\\,b,"c\\"d"\n', "id", "v") == [{"id": "a,b", "v": 'c"d'}]


def test_without_quotes_a_quote_is_a_character(pipeline: Make) -> None:
    p = pipeline(source={"csv": {"quote": ""}})
    assert taken(p, 'id,v\n5" pipe,"x\n', "id", "v") == [{"id": '5" pipe', "v": '"x'}]


@pytest.mark.parametrize("encoding", ["ISO-8859-1", "Windows-1252", "ISO-8859-15", "GB18030"])
def test_a_declared_encoding_is_read(pipeline: Make, encoding: str) -> None:
    p = pipeline(source={"csv": {"encoding": encoding}})
    assert taken(p, "größe,v\né,ü\n".encode(encoding), "größe", "v") == [{"größe": "é", "v": "ü"}]


def test_bytes_that_an_encoding_does_not_have_break_their_row_alone(pipeline: Make) -> None:
    p = pipeline(source={"csv": {"encoding": "Windows-1252"}})
    assert taken(p, b"id,v\n1,\x80\n2,\x81\n3,x\n", "id", "v") == [{"id": 1, "v": "€"}, {"id": 3, "v": "x"}]
    assert reasons(p)[0][1].startswith("not Windows-1252")


NOT_CSV = [
    (gzip.compress(b"id,v\n1,x\n", mtime=0), "compressed with gzip. Set spec.source.compression: Gzip"),
    (b"PK\x03\x04....", "zip archive"),
    ("id,v\n1,x\n".encode("utf-16"), "UTF-16 and not UTF-8"),
    ("id,v\n1,x\n".encode("utf-16-le"), "It may be UTF-16"),
    ("id,v\n1,x\n".encode("utf-32"), "UTF-32"),
    (b"<!DOCTYPE html>\n<html>\n", "an HTML page"),
    (b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', "XML"),
    (b"PAR1\x15\x04..PAR1", "a Parquet file. Set spec.source.format: Parquet"),
    (b"ARROW1\x00\x00", "an Arrow file"),
    (b'{"id": 1, "v": 2}\n', "JSON. Set spec.source.format: JSON"),
    (b'[{"id": 1}]\n', "JSON array"),
    (b"# exported\nid,v\n1,2\n", "seems to be a comment: '# exported'. Set spec.source.csv.comment"),
    (b'# exported by "me"\nid,v\n1,2\n', "seems to be a comment"),
    (b'"id"\t"v"\n1\t2\n', "seems to be '\\t'. Set spec.source.csv.delimiter"),
    (b'"id";"v"\n1;2\n', "seems to be ';'"),
    (b'1|"a, b"\n2|"c"\n', "seems to be '|'"),
    (b"Service Unavailable\nPlease try again\n", "one column of strings, 'Service Unavailable'"),
    (b"07:01 start\n07:02 stop\n", "is it a log, or a page"),
]


# Each by itself where everything is tried, else all of them in one batch.
@pytest.mark.parametrize("files", [[each] for each in NOT_CSV] if exhaustive() else [NOT_CSV])
def test_what_is_not_csv_says_what_it_is_and_is_never_learned(
    pipeline: Make, files: list[tuple[bytes, str]]
) -> None:
    p = pipeline()
    names = [f"{n:02}" for n in range(len(files))]
    for name, (data, _) in zip(names, files, strict=True):
        (p.raw / name).write_bytes(data)
    p.batch(*names)
    for (row, reason), (_, said) in zip(reasons(p), files, strict=True):
        assert row is None
        assert said in reason
    assert taken(p, "id,v\n1,x\n", "id", "v") == [{"id": 1, "v": "x"}]


@pytest.mark.parametrize(
    "spec",
    [
        {"columns": [{"name": "a word", "type": "string"}]},
        {"transforms": [{"select": {"columns": ["a word"]}}]},
        {"transforms": [{"derive": {"columns": {"size": 'LENGTH("a word")'}}}]},
        {"transforms": [{"sql": {"query": 'SELECT "a word" FROM self'}}]},
        {"expectations": [{"name": "short", "that": 'LENGTH("a word") < 9'}]},
        {"deduplicate": {"keys": ["a word"]}},
    ],
)
def test_a_table_of_one_column_that_the_spec_names_is_taken(pipeline: Make, spec: dict[str, Any]) -> None:
    found = taken(pipeline(**spec), "a word\nyes\nno\n", "a word")
    assert found == [{"a word": "yes"}, {"a word": "no"}]


@pytest.mark.parametrize("name", ["ORCID", "PAR1", "ARROW1", "BZhandle", "Obj1"])
def test_a_header_that_begins_as_a_binary_file_does_is_a_header(pipeline: Make, name: str) -> None:
    assert taken(pipeline(), f"{name},v\n1,x\n", name, "v") == [{name: 1, "v": "x"}]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        (
            "0.csv.gz",
            b"id,v\n1,x\n",
            "compressed with gzip, and it is not. Set spec.source.compression: None",
        ),
        ("0.csv.zst", gzip.compress(b"id,v\n1,x\n", mtime=0), "Set spec.source.compression: Gzip"),
        ("0.csv.zst", b"id,v\n1,x\n", "compressed with zstd, and it is not"),
    ],
)
def test_a_file_that_is_not_packed_as_its_name_says_is_told_what_it_is(
    pipeline: Make, name: str, data: bytes, said: str
) -> None:
    p = pipeline()
    (p.raw / name).write_bytes(data)
    p.batch(name)
    [(row, reason)] = reasons(p)
    assert row is None
    assert said in reason


@pytest.mark.parametrize("name", ["name", "Größe", "user_id", "user-id", "user.name", "_x"])
def test_texts_under_a_word_are_a_table_of_one_column(pipeline: Make, name: str) -> None:
    p = pipeline()
    assert taken(p, f"{name}\nalice\nbob went home\n", name) == [{name: "alice"}, {name: "bob went home"}]
    assert p.quarantine() == []


def test_a_file_without_rows_refuses_nothing_and_the_next_one_is_learned_from(pipeline: Make) -> None:
    p = pipeline()
    (p.raw / "0").write_text("name\n")
    p.batch("0")
    assert taken(p, "name\nalice\n", "name") == [{"name": "alice"}]
    assert p.quarantine() == []


@pytest.mark.parametrize("line", ["Starting...", "ERROR: disk full", "2024-01-31", "Not Found", "[info]"])
def test_texts_under_what_no_column_is_called_are_taken_for_a_log(pipeline: Make, line: str) -> None:
    p = pipeline()
    (p.raw / "0").write_text(f"{line}\ngoing on\n")
    p.batch("0")
    [(_, reason)] = reasons(p)
    assert "is it a log, or a page" in reason


@pytest.mark.parametrize("value", ["7", "1.5", "2024-01-31", "true"])
def test_one_column_that_is_no_text_is_learned_without_a_name_in_the_spec(pipeline: Make, value: str) -> None:
    p = pipeline()
    assert len(taken(p, f"x\n{value}\n", "x")) == 1
    assert p.quarantine() == []


def test_a_page_is_no_new_column_of_a_table_that_may_lack_columns(pipeline: Make) -> None:
    p = pipeline(schemaPolicy={"missingColumn": "Ignore"})
    p.batch(p.csv("0", "id,v\n1,2\n"), p.csv("1", "Service Unavailable\nTry again\n"), p.csv("2", "id\n3\n"))
    assert p.rows("id", "v") == [{"id": 1, "v": 2}, {"id": 3, "v": None}]
    assert p.dataset.schema.names == ["id", "v", "__batch", "__file", "__row"]


def test_a_column_named_by_a_mark_of_comments_is_a_column(pipeline: Make) -> None:
    assert taken(pipeline(), "#,name\n1,a\n", "#", "name") == [{"#": 1, "name": "a"}]


def test_a_file_without_a_good_row_teaches_nothing(pipeline: Make) -> None:
    p = pipeline()
    p.batch(p.csv("0", "Service Unavailable\nid,v\n1,2\n"), p.csv("1", "id,v\n3,4\n"))
    assert p.rows("id", "v") == [{"id": 3, "v": 4}]
    assert p.dataset.schema.names == ["id", "v", "__batch", "__file", "__row"]


def test_a_file_that_the_steps_refuse_teaches_nothing(pipeline: Make) -> None:
    p = pipeline(transforms=[{"select": {"columns": ["id"]}}])
    p.batch(p.csv("0", "error\nnot found\n"))
    p.batch(p.csv("1", "id,v\n3,4\n"))
    assert p.rows("id") == [{"id": 3}]


def test_a_header_of_any_length_stops_no_other_file(pipeline: Make) -> None:
    p = pipeline()
    p.batch(p.csv("0", "x" * 140_000 + ",v\n1,2\n"), p.csv("1", "id,v\n3,4\n"))
    assert p.rows("id") == [{"id": 3}]
    [(_, reason)] = reasons(p)
    assert "140,000 characters" in reason


def test_a_byte_0_breaks_its_row_alone(pipeline: Make) -> None:
    p = pipeline()
    assert taken(p, b"id,v\n1,x\n2,a\x00b\n3,y\n", "id") == [{"id": 1}, {"id": 3}]


values = st.text("ab,\"'\n\r #;\\é", max_size=6)


@settings(max_examples=examples(300), deadline=None)
@given(
    rows=st.lists(st.tuples(values, values), min_size=1, max_size=8),
    cut=st.integers(1, 40),
)
def test_what_pythons_csv_module_writes_keeps_to_the_grammar(rows: list[tuple[str, str]], cut: int) -> None:
    written = io.StringIO()
    csv.writer(written, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    data = written.getvalue().encode()
    grammar = CsvGrammar(CsvOptions(), 2)
    rest, good = b"", b""
    for at in range(0, len(data), cut):
        found = grammar.read(rest + data[at : at + cut], final=at + cut >= len(data))
        assert not found.broken
        rest, good = found.rest, good + found.good
    assert not rest
    assert good == data


@settings(max_examples=examples(300), deadline=None)
@given(data=st.text('a1,"\n', max_size=40), cut=st.integers(1, 40))
def test_each_row_of_any_text_is_taken_or_told_wherever_it_is_cut(data: str, cut: int) -> None:
    grammar = CsvGrammar(CsvOptions(), 2)
    encoded = data.encode()
    whole = grammar.read(encoded, final=True)
    for row in csv.reader(io.StringIO(whole.good.decode()), strict=True):
        assert row
    rest, rows = b"", 0
    for at in range(0, max(1, len(encoded)), cut):
        found = grammar.read(rest + encoded[at : at + cut], final=at + cut >= len(encoded))
        rest, rows = found.rest, rows + found.rows
    assert not rest
    assert rows == whole.rows
