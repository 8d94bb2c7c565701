from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.files.overwrites import decide
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.manifest import Action, Manifest
from featurestore.resources.data_pipeline import OnOverwrite
from featurestore.storage.objects import Storage

RUNNER = """
import sys
from functools import partial
from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.files.overwrites import decide
from featurestore.arrivals.manifest import Manifest
from featurestore.arrivals.ledger import Ledger
from featurestore.resources.data_pipeline import OnOverwrite
from featurestore.storage.objects import Storage
ledger = Ledger(Storage(sys.argv[1]), "flights")
listing = [Arrival(f"{n:03d}", "v1", 1, 0) for n in range(int(sys.argv[2]))]
print("ready", flush=True)
sys.stdin.readline()
while entries := list(ledger.new_entries(listing, partial(decide, on_overwrite=OnOverwrite.REJECT)))[:3]:
    ledger.try_append(Manifest("flights", ledger.uid(), ledger.last_batch() + 1, "spec", 0, tuple(entries)))
    if ledger.last_batch() % 7 == 0:
        ledger.checkpoint()
"""


def taken(storage: Storage) -> Counter[tuple[str, str]]:
    ledger = Ledger(storage, "flights")
    manifests = [ledger.manifest(n) for n in range(1, ledger.last_batch() + 1)]
    return Counter(
        (entry.arrival.uri, entry.arrival.version) for manifest in manifests for entry in manifest.entries
    )


def test_racing_processes_take_each_arrival_once(storage: Storage) -> None:
    count = 40
    runners = [
        subprocess.Popen(
            [sys.executable, "-c", RUNNER, storage.root, str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for runner in runners:
        assert runner.stdout is not None
        assert runner.stdout.readline() == "ready\n"
    for runner in runners:
        assert runner.stdin is not None
        runner.stdin.write("go\n")
        runner.stdin.flush()
    for runner in runners:
        _, errors = runner.communicate(timeout=600)
        assert runner.returncode == 0, errors
    assert taken(storage) == Counter({(f"{n:03d}", "v1"): 1 for n in range(count)})


@pytest.mark.parametrize("kill_at", ["before-checkpoint", "after-checkpoint", "after-checkpoint#2"])
def test_a_kill_around_a_checkpoint_needs_no_repair(
    storage: Storage, run_python: Callable[..., object], kill_at: str
) -> None:
    script = RUNNER.replace("sys.stdin.readline()", "pass")
    run_python("-c", script, storage.root, "60", kill_at=kill_at)
    run_python("-c", script, storage.root, "60")
    assert taken(storage) == Counter({(f"{n:03d}", "v1"): 1 for n in range(60)})


steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from("abcd"), st.integers(1, 4)),
        st.tuples(st.just("remove"), st.sampled_from("abcd"), st.just(0)),
        st.tuples(st.just("take"), st.sampled_from(["Reject", "Append", "Replace"]), st.integers(1, 3)),
        st.tuples(st.just("checkpoint"), st.just(""), st.just(0)),
        st.tuples(st.just("restart"), st.just(""), st.just(0)),
    ),
    max_size=30,
)


@settings(max_examples=examples(150), deadline=None)
@given(steps)
def test_whatever_happens_the_ledger_decides_as_one_that_remembers_all(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, int]]
) -> None:
    storage = Storage(str(tmp_path_factory.mktemp("ledger")))
    ledger = Ledger(storage, "flights")
    files: dict[str, str] = {}
    versions: dict[str, list[str]] = {}
    standing: dict[str, list[tuple[int, int]]] = {}
    for step, what, n in steps:
        if step == "write":
            files[what] = f"v{n}"
        elif step == "remove":
            files.pop(what, None)
        elif step == "checkpoint":
            ledger.checkpoint()
        elif step == "restart":
            ledger = Ledger(storage, "flights")
        else:
            listing = [Arrival(uri, version, 1, 0) for uri, version in sorted(files.items())]
            entries = list(ledger.new_entries(listing, partial(decide, on_overwrite=OnOverwrite(what))))
            assert [
                ledger.entry(arrival, partial(decide, on_overwrite=OnOverwrite(what))) for arrival in listing
            ] == [next((entry for entry in entries if entry.arrival == arrival), None) for arrival in listing]
            expected = {uri for uri, version in files.items() if version not in versions.get(uri, [])}
            assert {entry.arrival.uri for entry in entries} == expected
            if not (entries := entries[:n]):
                continue
            number = ledger.last_batch() + 1
            assert ledger.try_append(Manifest("flights", ledger.uid(), number, "spec", 0, tuple(entries)))
            for file, entry in enumerate(entries):
                uri = entry.arrival.uri
                overwrites = uri in versions
                versions.setdefault(uri, []).append(entry.arrival.version)
                wanted = {"Reject": Action.REJECT, "Append": Action.TAKE, "Replace": Action.REPLACE}[what]
                assert entry.action is (wanted if overwrites else Action.TAKE)
                if entry.action is Action.REPLACE:
                    assert entry.replaces == tuple(standing[uri])
                    standing[uri] = []
                if entry.action is not Action.REJECT:
                    standing.setdefault(uri, []).append((number, file))


def test_the_manifests_are_plain_json(storage: Storage) -> None:
    ledger = Ledger(storage, "flights")
    (entry,) = ledger.new_entries(
        [Arrival("ü", "v1", 1, 0)], partial(decide, on_overwrite=OnOverwrite.REJECT)
    )
    ledger.try_append(Manifest("flights", ledger.uid(), 1, "spec", 0, (entry,)))
    written = json.loads(storage.read("ledger/flights/manifests/000000000/000000000001.json"))
    assert written["entries"][0]["arrival"]["uri"] == "ü"
    assert written["entries"][0]["action"] == "Take"


def test_a_manifest_is_in_the_folder_that_the_layout_names(local_root: str) -> None:
    assert not Path(local_root, "ledger").exists()
    Ledger(Storage(local_root), "flights").uid()
    assert Path(local_root, "ledger/flights/ledger.json").exists()
