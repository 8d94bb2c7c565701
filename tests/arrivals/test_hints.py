"""Hints of object storage: from the events that an S3 server posts to what waits, whatever becomes of them on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from eventually import eventually
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storage_server import s3

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.backlog import MOST_HINTS, Backlog
from featurestore.arrivals.files.file_source import FileSource
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.notifications.object_events import read_message
from featurestore.arrivals.notifications.pending_hints import PendingHints
from featurestore.arrivals.notifications.receiver import PATH, Receiver
from featurestore.errors import Conflict
from featurestore.resources import DataPipelineSpec
from featurestore.storage.filesystem import filesystem
from featurestore.storage.objects import Storage

TOKEN = "a token of the tests"
SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US
START_US = 4_000_000_000 * SECOND_US


class Door:
    """Keeps what is hinted."""

    def __init__(self) -> None:
        self.urls: list[str] = []

    def token(self, address: str) -> str | None:
        return TOKEN if address == "flights" else None

    def take(self, address: str, urls: Sequence[str]) -> None:
        self.urls += urls


class Counting(FileSource):
    """Counts how often it was listed, and which single URIs were looked at."""

    listings = 0

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.heads: list[str] = []

    def arrivals(self) -> Iterator[Arrival]:
        self.listings += 1
        return super().arrivals()

    def look(self, uris: Any) -> list[Arrival]:
        wanted = list(uris)
        self.heads += wanted
        return super().look(wanted)


class Bucket:
    """A bucket whose events are posted to ``door``."""

    def __init__(self, environ: Mapping[str, str], door: Door, folder: Path) -> None:
        self.environ, self.door, self._folder, self._number = environ, door, folder, count()
        self.fs, _ = filesystem("s3://raw", environ)

    def put(self, key: str, content: bytes = b"a\n1\n") -> None:
        self.fs.call_s3("put_object", Bucket="raw", Key=key, Body=content)

    def watched(
        self, prefix: str, *, hinted: bool = True, **arrivals: Any
    ) -> tuple[Backlog, Counting, Ledger]:
        """A backlog of all CSV files below a prefix, with a ledger of its own."""
        source = {"uri": f"s3://raw/{prefix}/**/*.csv", "format": "CSV", "onOverwrite": "Append"}
        trigger: dict[str, Any] = {"arrivals": {"maxWait": "0s", **arrivals}}
        if hinted:
            trigger["notifications"] = {"webhook": {}}
        spec = DataPipelineSpec.model_validate({"source": source, "trigger": trigger})
        ledger = Ledger(Storage(str(self._folder / f"store-{next(self._number)}")), "flights")
        found = Counting(spec.source, None, self.environ)
        return Backlog(ledger, found, spec.trigger), found, ledger


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    folder, door = tmp_path_factory.mktemp("hints"), Door()
    (folder / "s3" / "raw").mkdir(parents=True)
    receiver = Receiver("127.0.0.1", 0, door)
    receiver.start()
    token = TOKEN.replace(" ", "%20")
    to = f"http://127.0.0.1:{receiver.port}{PATH}flights?access_token={token}"
    with s3(folder / "s3", events_to=to) as environ:
        yield Bucket(environ, door, folder)
    receiver.stop()


def waiting(backlog: Backlog) -> set[str]:
    return {entry.arrival.uri for entry in backlog.open.entries} if backlog.open else set()


def test_what_the_server_posts_of_an_object_leads_to_it_without_a_listing(bucket: Bucket) -> None:
    backlog, source, _ = bucket.watched("posted")
    backlog.look(START_US)
    keys = ["posted/0 ü+.csv", "posted/a%20b.csv", "posted/day=1/b.csv"]
    for key in [*keys, "posted/_left_out.csv", "elsewhere/c.csv"]:
        bucket.put(key)
    wanted = {f"s3://raw/{key}" for key in keys}
    eventually(lambda: wanted <= set(source.named(bucket.door.urls)))
    backlog.look(START_US + SECOND_US, source.named(bucket.door.urls))
    assert waiting(backlog) == wanted
    assert source.listings == 1


def test_a_hint_is_checked_by_a_look_at_its_key_alone(bucket: Bucket) -> None:
    backlog, source, _ = bucket.watched("alone")
    backlog.look(START_US)
    bucket.put("alone/a.csv")
    bucket.put("alone/b.csv")
    forged = "s3://raw/alone/never-put.csv"
    backlog.look(START_US + SECOND_US, ["s3://raw/alone/a.csv", forged])
    assert waiting(backlog) == {"s3://raw/alone/a.csv"}
    assert (sorted(source.heads), source.listings) == (["s3://raw/alone/a.csv", forged], 1)
    assert backlog.failure is None


def test_a_hinted_version_is_the_one_that_a_listing_finds(bucket: Bucket) -> None:
    _, source, _ = bucket.watched("same")
    bucket.put("same/a.csv")
    (listed,) = source.arrivals()
    (looked_at,) = source.look([listed.uri])
    assert (looked_at.uri, looked_at.version, looked_at.size_bytes) == (
        listed.uri,
        listed.version,
        listed.size_bytes,
    )


def test_more_hints_than_a_listing_costs_make_a_listing(bucket: Bucket) -> None:
    backlog, source, _ = bucket.watched("many")
    backlog.look(START_US)
    bucket.put("many/a.csv")
    pending = PendingHints[str]()
    for number in range(3 * MOST_HINTS):
        pending.add("flights", [f"s3://raw/many/{number}.csv"])
    hints = pending.take("flights")
    assert len(hints) == MOST_HINTS + 1
    backlog.look(START_US + SECOND_US, hints)
    assert (source.listings, source.heads) == (2, [])
    assert waiting(backlog) == {"s3://raw/many/a.csv"}


def test_an_hour_without_files_costs_six_listings_with_notifications_and_360_without(bucket: Bucket) -> None:
    listings = {}
    for hinted in (True, False):
        backlog, source, _ = bucket.watched("quiet", hinted=hinted)
        now_us = START_US
        while now_us < START_US + HOUR_US:
            backlog.look(now_us)
            now_us = backlog.next_us
        listings[hinted] = source.listings
    assert listings == {True: 6, False: 360}


PREFIXES = count()
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abcd"), st.booleans()),
        st.tuples(st.just("hint"), st.integers(0, 9), st.integers(1, 2)),
        st.tuples(st.just("forge"), st.sampled_from(["e", "../a", "a.csv/b", "Ω", "x" * 1000]), st.just(0)),
        st.tuples(st.just("look"), st.just(0), st.just(0)),
        st.tuples(st.just("take"), st.just(0), st.just(0)),
    ),
    min_size=3,
    max_size=16,
)


@given(STEPS)
@settings(
    max_examples=examples(15),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_hints_that_are_dropped_doubled_reordered_late_or_forged_change_only_when_a_file_is_taken(
    bucket: Bucket, steps: list[tuple[str, Any, Any]]
) -> None:
    prefix = f"any-{next(PREFIXES)}"
    backlog, source, ledger = bucket.watched(prefix)
    now_us, content, last = START_US, 0, {}
    sent: list[str] = []
    pending: set[str] = set()

    def hint(key: str) -> None:
        posted = {"Records": [{"s3": {"bucket": {"name": "raw"}, "object": {"key": key}}}]}
        pending.update(source.named(read_message(json.dumps(posted).encode()).urls))

    def look() -> None:
        nonlocal now_us
        now_us += SECOND_US
        backlog.look(now_us, pending)
        assert backlog.failure is None
        pending.clear()

    def take() -> None:
        if backlog.open is not None:
            try:
                backlog.close(ledger.last_batch() + 1, "spec", now_us)
            except Conflict:
                return

    for what, one, other in steps:
        if what == "put":
            content += 1
            key = f"{prefix}/{one}.csv"
            bucket.put(key, b"a\n%d\n" % content)
            last[f"s3://raw/{key}"] = content
            if other:
                sent.append(key)
        elif what == "hint" and sent:
            # An old one again, any time later; or one of those that came after.
            for _ in range(other):
                hint(sent[one % len(sent)])
        elif what == "forge":
            hint(f"{prefix}/{one}.csv")
        elif what == "look":
            look()
        elif what == "take":
            take()
    # The next listing that is due by itself.
    now_us = max(now_us, backlog.next_us)
    look()
    while backlog.open is not None:
        take()
        look()

    taken = [
        (entry.arrival.uri, entry.arrival.version)
        for number in range(1, ledger.last_batch() + 1)
        for entry in ledger.manifest(number).entries
    ]
    newest = {(arrival.uri, arrival.version) for arrival in source.arrivals()}
    assert len(taken) == len(set(taken))
    assert newest <= set(taken)
    assert {uri for uri, _ in taken} == set(last)
