from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore.arrivals.checkpoint import Checkpoint, KnownArrival, escape, pack
from featurestore.arrivals.manifest import Action
from featurestore.errors import StorageError

texts = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("\t\n\r%/. \x85\u2028"),
    min_size=1,
    max_size=12,
)
rows = st.builds(
    KnownArrival,
    uri=texts,
    batch=st.integers(1, 99),
    file=st.integers(0, 99),
    version=texts,
    action=st.sampled_from([Action.TAKE, Action.REPLACE, Action.REJECT]),
    content=st.sampled_from(["", "0f"]),
) | st.builds(
    KnownArrival,
    uri=texts,
    batch=st.integers(1, 99),
    file=st.integers(0, 99),
    version=texts,
    action=st.just(Action.REPLAY),
    replays=st.tuples(st.integers(1, 99), st.integers(0, 99)),
    content=st.sampled_from(["", "0f"]),
)


def take(uri: str, batch: int = 1, file: int = 0) -> KnownArrival:
    return KnownArrival(uri, batch, file, "v1", Action.TAKE)


@given(st.lists(rows, max_size=30))
def test_what_is_packed_is_read_whatever_the_names(known: list[KnownArrival]) -> None:
    known.sort(key=lambda row: row[:3])
    assert list(Checkpoint(pack(known))) == known


@given(st.lists(rows, max_size=30), texts)
def test_a_uri_is_found_with_all_its_rows_and_no_others(known: list[KnownArrival], other: str) -> None:
    known.sort(key=lambda row: row[:3])
    checkpoint = Checkpoint(pack(known))
    for uri in {row.uri for row in known} | {other}:
        assert checkpoint.find(uri) == [row for row in known if row.uri == uri]


@given(texts)
def test_an_escaped_text_stands_in_one_field(text: str) -> None:
    assert not set(escape(text)) & {"\t", "\n"}


@pytest.mark.parametrize("count", [999, 1000, 1001, 3500])
def test_rows_are_found_at_the_edges_of_members(count: int) -> None:
    known = [take(f"{n:06d}") for n in range(count)]
    checkpoint = Checkpoint(pack(known))
    for n in {0, 1, 998, 999, 1000, 1001, 1999, 2000, count - 1} & set(range(count)):
        assert checkpoint.find(f"{n:06d}") == [known[n]]
    for absent in ("", "000000.", "000999.", "001000.", "zzz"):
        assert checkpoint.find(absent) == []


def test_the_rows_of_one_uri_are_found_over_several_members() -> None:
    many = [take("b", batch) for batch in range(1, 2600)]
    checkpoint = Checkpoint(pack([*(take(f"a{n:03d}") for n in range(500)), *many, take("c")]))
    assert checkpoint.find("b") == many
    assert checkpoint.find("c") == [take("c")]


def test_a_person_reads_it_with_zcat() -> None:
    known = [take("s3://raw/a b.csv"), KnownArrival("s3://raw/c.csv", 2, 3, "v2", Action.REPLAY, (1, 0))]
    assert gzip.decompress(pack(known)).decode() == (
        "uri\tbatch\tfile\tversion\taction\tcontent\n"
        "s3://raw/a b.csv\t1\t0\tv1\tTake\t\n"
        "s3://raw/c.csv\t2\t3\tv2\tReplay:1:0\t\n"
    )


def test_the_same_rows_make_the_same_bytes() -> None:
    known = [take(f"{n}") for n in range(10)]
    assert pack(known) == pack(known)


def test_an_empty_checkpoint_knows_nothing() -> None:
    for checkpoint in (Checkpoint(), Checkpoint(pack([]))):
        assert list(checkpoint) == []
        assert checkpoint.find("a") == []


@pytest.mark.parametrize(
    ("damage", "got"),
    [
        (lambda data: data[:-20], "cut short"),
        (lambda data: data[:-4] + b"\0\0\0\1", "damaged"),
        (lambda data: b"not gzip at all", "damaged"),
        (lambda data: gzip.compress(b"uri,version\n"), "unknown form"),
    ],
)
def test_a_damaged_checkpoint_is_an_error_and_not_an_empty_ledger(damage, got: str) -> None:  # type: ignore[no-untyped-def]
    data = damage(pack([take(f"{n}") for n in range(1500)]))
    with pytest.raises(StorageError, match=got):
        list(Checkpoint(data, "somewhere"))
    with pytest.raises(StorageError, match="in somewhere"):
        Checkpoint(data, "somewhere").find("1")
