"""How text files are read: what separates the values of CSV, and how the objects of JSON stand in a file."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from featurestore.resources.model import Model
from featurestore.resources.rule import SpecRule

MARK_PATTERN = r"^[\t -~]?$"
"""One character of ASCII, or none: what takes a line apart is a byte."""
NullText = Annotated[str, StringConstraints(max_length=64)]
Mark = Annotated[str, StringConstraints(pattern=MARK_PATTERN, max_length=1)]


class Header(StrEnum):
    PRESENT = "Present"
    ABSENT = "Absent"


class Encoding(StrEnum):
    """Names of encodings as IANA has them. A byte order mark is left out of the text in each."""

    UTF_8 = "UTF-8"
    UTF_16 = "UTF-16"
    ISO_8859_1 = "ISO-8859-1"
    ISO_8859_15 = "ISO-8859-15"
    WINDOWS_1250 = "Windows-1250"
    WINDOWS_1251 = "Windows-1251"
    WINDOWS_1252 = "Windows-1252"
    SHIFT_JIS = "Shift_JIS"
    GB18030 = "GB18030"
    BIG5 = "Big5"


class Layout(StrEnum):
    """``Lines``: one object a line. ``Array``: one array of objects, on however many lines."""

    LINES = "Lines"
    ARRAY = "Array"


class CsvOptions(Model):
    delimiter: Mark = Field(",", min_length=1, description="One character between fields.")
    header: Header = Field(Header.PRESENT, description="Whether the first line names the columns.")
    null_values: tuple[NullText, ...] = Field(
        ("",), max_length=32, description="Strings that are read as null."
    )
    skip_lines: int = Field(
        0, ge=0, le=10_000, description="Lines before the header (or the first row) that are not read."
    )
    comment: Mark = Field("", description="Lines that begin with this character are not read.")
    quote: Mark = Field(
        '"', description="Character around values; doubled, it stands for itself. Empty: none has a meaning."
    )
    escape: Mark = Field("", description="Character that takes its meaning from the one after it.")
    encoding: Encoding = Field(Encoding.UTF_8, description="Encoding of the text.")
    rules = (
        SpecRule(
            message="delimiter, quote, escape and comment must be different characters",
            holds=lambda csv: (
                len({csv.delimiter, csv.quote, csv.escape, csv.comment} - {""})
                == sum(map(bool, (csv.delimiter, csv.quote, csv.escape, csv.comment)))
            ),
            cel="!has(self.delimiter) || [self.delimiter, self.quote, self.escape, self.comment]"
            ".filter(mark, mark != '').all(mark, [self.delimiter, self.quote, self.escape, self.comment]"
            ".filter(other, other == mark).size() == 1)",
            field="delimiter",
        ),
    )


class JsonOptions(Model):
    layout: Layout = Field(
        Layout.LINES, description="Lines: one object a line. Array: one array of objects, on any lines."
    )
