"""Whatever the files and wherever batches are cut: the dataset is what plain Python makes of all files at once."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Row = dict[str, Any]
Make = Callable[..., Any]
LIMIT = 50


@dataclass(frozen=True)
class Drop:
    """A file comes, or comes again with other rows."""

    file: int
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Case:
    format: str
    drops: tuple[Drop, ...]
    cuts: tuple[int, ...]
    above: int | None
    drops_large: bool
    deduplicate: str | None

    def spec(self) -> dict[str, Any]:
        spec: dict[str, Any] = {
            "source": {"format": self.format, "onOverwrite": "Reject" if self.deduplicate else "Replace"},
            "columns": [{"name": "k", "type": "string"}, {"name": "v", "type": "int64"}],
            "expectations": [
                {
                    "name": "small",
                    "that": f"v IS NULL OR v < {LIMIT}",
                    "otherwise": "Drop" if self.drops_large else "Quarantine",
                }
            ],
        }
        if self.above is not None:
            spec["transforms"] = [{"filter": {"where": f"v > {self.above}"}}]
        if self.deduplicate:
            spec["deduplicate"] = {"keys": ["k"]}
            if self.deduplicate == "v":
                spec["deduplicate"]["orderBy"] = {"column": "v"}
        return spec


def good(case: Case, rows: tuple[Row, ...]) -> tuple[list[tuple[int, Row]], list[tuple[int, str]]]:
    """Rows of one file that are taken, with their numbers, and those in quarantine with their rules."""
    taken, broken = [], []
    for number, row in enumerate(rows):
        v = row["v"]
        if isinstance(v, str):
            broken.append((number, "schema:typeChanged"))
        elif case.above is not None and (v is None or v <= case.above):
            continue
        elif v is not None and v >= LIMIT:
            if not case.drops_large:
                broken.append((number, "small"))
        else:
            taken.append((number, row))
    return taken, broken


def oracle(case: Case) -> tuple[list[Any], list[Any]]:
    """Rows ``(drop, row, k, v)`` that stay, and what is in quarantine as ``(drop, row, rule)``."""
    newest = {drop.file: order for order, drop in enumerate(case.drops)}
    rows, quarantine = [], []
    for order, drop in enumerate(case.drops):
        taken, broken = good(case, drop.rows)
        quarantine += [(order, number, rule) for number, rule in broken]
        if newest[drop.file] == order:
            rows += [(order, number, row["k"], row["v"]) for number, row in taken]
    if case.deduplicate:
        best: dict[str, Any] = {}
        for row in rows:
            rank = (row[3] is not None, row[3] or 0, *row[:2]) if case.deduplicate == "v" else row[:2]
            if row[2] is not None and (row[2] not in best or rank > best[row[2]][0]):
                best[row[2]] = (rank, row)
        winners = {row for _, row in best.values()}
        rows = [row for row in rows if row[2] is None or row in winners]
    return sorted(rows, key=str), sorted(quarantine)


def write(path: Path, form: str, rows: tuple[Row, ...]) -> None:
    if form == "CSV":
        pairs = [[row["k"], row["v"]] for row in rows]
        lines = [",".join("" if value is None else str(value) for value in pair) for pair in pairs]
        path.write_text("\n".join(["k,v", *lines]) + "\n")
    elif form == "JSON":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        # A file has one type for a column: texts, if one of its values is one.
        texts = any(isinstance(row["v"], str) for row in rows)
        values = [str(row["v"]) if texts and row["v"] is not None else row["v"] for row in rows]
        kind = pl.String if texts else pl.Int64
        frame = pl.DataFrame({"k": [r["k"] for r in rows], "v": values}, schema={"k": pl.String, "v": kind})
        frame.write_parquet(path) if form == "Parquet" else frame.write_ipc(path)


def run(case: Case, make: Any, cuts: tuple[int, ...], again: bool) -> tuple[list[Any], list[Any]]:
    """What the pipeline makes of the drops, cut into batches of these sizes in turn."""
    with tempfile.TemporaryDirectory() as folder:
        p = make(str(Path(folder) / "store"), Path(folder) / "raw", case.spec())
        orders: dict[tuple[int, int], int] = {}
        order, cut = 0, 0
        while order < len(case.drops):
            seen: set[int] = set()
            entries = []
            while order < len(case.drops) and len(entries) < cuts[cut % len(cuts)]:
                drop = case.drops[order]
                if drop.file in seen:
                    break  # a manifest takes one version of a file
                seen.add(drop.file)
                name = f"{drop.file}.data"
                write(p.raw / name, case.format, drop.rows)
                entries.append(p.replaced(name))
                orders[p.ledger.last_batch() + 1, len(entries) - 1] = order
                order += 1
            cut += 1
            p.batch(*entries)
            if again:
                p.run()
        rows = [(orders[r["__batch"], r["__file"]], r["__row"], r["k"], r["v"]) for r in p.rows()]
        broken = [(orders[r["__batch"], r["__file"]], r["__row"], r["rule"]) for r in p.quarantine()]
        return sorted(rows, key=str), sorted(broken)


values = st.one_of(st.none(), st.integers(-3, 60), st.sampled_from([2**53 + 1, -(2**63), "much"]))
rows = st.fixed_dictionaries({"k": st.sampled_from(["a", "b", "c", None]), "v": values})
drops = st.builds(Drop, st.integers(0, 3), st.lists(rows, min_size=1, max_size=5).map(tuple))
cases = st.builds(
    Case,
    format=st.sampled_from(["CSV", "JSON", "Parquet", "Arrow"]),
    drops=st.lists(drops, min_size=1, max_size=6).map(tuple),
    cuts=st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple),
    above=st.sampled_from([None, None, 0]),
    drops_large=st.booleans(),
    deduplicate=st.just(None),
)
once_each = st.builds(
    Case,
    format=st.sampled_from(["CSV", "Parquet"]),
    drops=st.lists(drops, min_size=1, max_size=4, unique_by=lambda drop: drop.file).map(tuple),
    cuts=st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple),
    above=st.sampled_from([None, 0]),
    drops_large=st.booleans(),
    deduplicate=st.sampled_from(["v", "arrival"]),
)
FAST = settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@FAST
@given(case=cases, again=st.booleans())
def test_the_dataset_is_what_plain_python_makes_of_all_files(maker: Any, case: Case, again: bool) -> None:
    assert run(case, maker, case.cuts, again) == oracle(case)


@FAST
@given(case=once_each, again=st.booleans())
def test_one_row_of_each_key_stays_wherever_batches_are_cut(maker: Any, case: Case, again: bool) -> None:
    assert run(case, maker, case.cuts, again) == oracle(case)
