"""Text files with damaged bits: each row is taken as its bytes say it, or it is in quarantine; no other file waits.

Nothing in a text says what it was before: a digit that became another one is read as it stands. What CSV and JSON
promise is that damage stays where it is. All rows but the one that was hit are what they were.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from examples import exhaustive

Make = Callable[..., Any]
ROWS = 40
FLIPS = 400 if exhaustive() else 30
COLUMNS = [
    {"name": "id", "type": "int64"},
    {"name": "name", "type": "string"},
    {"name": "x", "type": "float64"},
    {"name": "ok", "type": "bool"},
    {"name": "at", "type": "timestamp"},
]
NAMES = ("N14228", 'say "hi"', "a, b", "Größe", "two\nlines", "")


def rows() -> list[dict[str, Any]]:
    made = random.Random(7)
    return [
        {
            "id": 10_000 + n,
            "name": NAMES[n % len(NAMES)],
            "x": made.randrange(10_000) / 64,
            "ok": n % 2 == 0,
            "at": f"2024-01-{n % 28 + 1:02d}T05:06:07Z",
        }
        for n in range(ROWS)
    ]


def csv_bytes() -> bytes:
    def value(one: Any) -> str:
        text = str(one).lower() if isinstance(one, bool) else str(one)
        quoted = '"' + text.replace('"', '""') + '"'
        return quoted if any(mark in text for mark in ',"\n') else text

    lines = [",".join(rows()[0]), *(",".join(map(value, row.values())) for row in rows())]
    return ("\n".join(lines) + "\n").encode()


def json_bytes() -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows()).encode()


def flipped(data: bytes, made: random.Random) -> bytes:
    damaged = bytearray(data)
    damaged[made.randrange(len(data))] ^= 1 << made.randrange(8)
    return bytes(damaged)


@pytest.mark.parametrize("form", ["CSV", "JSON"])
def test_a_flipped_bit_in_a_text_changes_no_row_but_its_own_and_holds_up_no_other_file(
    pipeline: Make, form: str
) -> None:
    whole = csv_bytes() if form == "CSV" else json_bytes()
    made = random.Random(FLIPS)
    p = pipeline(source={"format": form}, columns=COLUMNS)
    for number in range(FLIPS + 1):
        (p.raw / f"{number:03d}").write_bytes(flipped(whole, made) if number else whole)
    result = p.batch(*(f"{number:03d}" for number in range(FLIPS + 1)))
    assert result.rows_read == result.rows_committed + result.rows_quarantined
    names = [column["name"] for column in COLUMNS]
    taken: dict[int, list[tuple[Any, ...]]] = {}
    for row in p.rows("__file", *names):
        taken.setdefault(row["__file"], []).append(tuple(row[name] for name in names))
    refused: dict[int, list[dict[str, Any]]] = {}
    for row in p.quarantine():
        refused.setdefault(row["__file"], []).append(row)
    good = taken[0]
    assert len(good) == ROWS
    assert 0 not in refused
    for file in range(1, FLIPS + 1):
        of_file = refused.get(file, [])
        if any(row["__row"] is None for row in of_file):
            assert file not in taken, "a file that was refused gave rows"
            continue
        # A line break that came or went makes two rows of one, or one of two.
        changed = [row for row in taken.get(file, []) if row not in good]
        lost = [row for row in good if row not in taken.get(file, [])]
        assert len(changed) <= 2, changed
        said = " ".join(row["record"] for row in of_file)
        unsaid = [row for row in lost if str(row[0]) not in said]
        assert len(unsaid) <= 2, (unsaid, of_file)
        assert all(row["rule"] and row["reason"] for row in of_file)
