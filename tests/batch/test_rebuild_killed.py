"""A rebuild that is killed, raced or robbed of its files ends as an undisturbed one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from examples import sample
from rebuilding import NEW, OLD, do, files, finish, plan, requests, seen, three

from featurestore.protocol import PromoteRebuildRequest
from featurestore.rebuild.history_plan import begin


def test_data_files_that_were_cleaned_up_before_the_promotion_are_written_again(pair: Any) -> None:
    p, fresh = pair(OLD, NEW)
    files(p)
    three(p)
    p.apply(NEW)
    begin(p.storage, plan(p))
    lost = False
    for request in requests(p):
        if isinstance(request, PromoteRebuildRequest) and not lost:
            lost = True
            DeltaTable(p.storage.uri(p.dataset.path)).vacuum(
                0, dry_run=False, enforce_retention_duration=False, full=True
            )
            with pytest.raises(Exception, match="data files of a rebuild are gone"):
                do(p, request)
        else:
            do(p, request)
    three(fresh)
    assert seen(p) == seen(fresh)


STEPS = [
    *("before-piece", "after-piece", "after-piece#2", "after-decision", "after-rebuild-quarantine"),
    *("after-rebuild-dataset", "after-rebuild-schema", "after-rebuild"),
]


def test_a_rebuild_that_is_killed_at_any_step_ends_as_an_undisturbed_one(
    maker: Any, tmp_path: Path, run_python: Any, command: Any
) -> None:
    undisturbed: Any = None
    for step in ["", *sample(STEPS, 4)]:
        p = maker(str(tmp_path / (step.replace("#", "-") or "undisturbed")), tmp_path / "raw", OLD)
        files(p)
        three(p)
        p.apply(NEW)
        begin(p.storage, plan(p))
        killed = not step
        for request in requests(p):
            promotes = isinstance(request, PromoteRebuildRequest)
            if not killed and promotes == (step not in STEPS[:3]):
                run_python(*command(request), kill_at=step)
                killed = True
            else:
                do(p, request)
        assert killed
        found = [*seen(p)[:2], *[{**row, "version": ""} for row in p.quarantine()], *seen(p)[3:]]
        undisturbed = undisturbed or found
        assert found == undisturbed, step
        commits = [entry for entry in p.dataset.history() if entry.get("rebuild")]
        assert len(commits) == 1


def test_two_processes_at_once_rebuild_once(pair: Any, command: Any) -> None:
    p, fresh = pair(OLD, NEW)
    files(p)
    three(p)
    p.apply(NEW)
    begin(p.storage, plan(p))
    for request in requests(p):
        both = [
            subprocess.Popen([sys.executable, *command(request)], stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        said = [json.loads(process.communicate()[0].splitlines()[-1]) for process in both]
        assert any("result" in line for line in said), said
    three(fresh)
    assert seen(p) == seen(fresh)
    assert len([entry for entry in p.dataset.history() if entry.get("rebuild")]) == 1


def test_history_is_run_again_in_object_storage_as_in_a_folder(
    maker: Any, s3_root: str, tmp_path: Path
) -> None:
    both = [maker(root, tmp_path / "raw", OLD) for root in (s3_root, str(tmp_path / "store"))]
    files(both[0])
    for p in both:
        three(p)
        p.apply(NEW)
        begin(p.storage, plan(p))
        finish(p)
    assert seen(both[0]) == seen(both[1])
    assert both[0].ledger.rebuilds.generation() == 1
