"""The examples of the page on Python are run as written, and so is what it says of threads, forks and servers."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from eventually import eventually
from readme import Shell

import featurestore

PAGE = (Path(__file__).parents[2] / "docs" / "python-api.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
CONNECT, ASK, TIME, RESULT, READER, SERVER = EXAMPLES
TAILNUM = "N14228"


@pytest.fixture(scope="module")
def home(demo: Shell) -> Path:
    return demo.folder.parent


def test_the_examples_work_as_written_one_after_the_other(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATURESTORE_URI", "flights-demo")
    names: dict[str, Any] = {}
    with chdir(home):
        for example in (CONNECT, ASK, TIME, RESULT, READER):
            exec(example, names)
    assert names["result"].to_dict()["last_arr_delay"] == [11.0]
    assert names["answer"].to_dict()["last_arr_delay"][0] == 11.0
    assert "last_arr_delay__ts" in names["result"].to_dict(include_event_timestamps=True)


def test_a_store_is_used_by_several_threads_at_once(home: Path) -> None:
    store = featurestore.connect(home / "flights-demo")

    def read(n: int) -> Any:
        if n % 4 == 0:
            labels = {"tailnum": [TAILNUM], "event_timestamp": ["2013-01-01T18:00:00Z"]}
            return store.get_features("aircraft-delays:last_arr_delay", labels).to_dict()["last_arr_delay"]
        return store.get_online_features("aircraft-delays", [{"tailnum": TAILNUM}]).to_dict()[
            "last_arr_delay"
        ]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, range(64))) == [[11.0]] * 64


@pytest.mark.new_process
def test_a_process_that_forks_reads_in_the_child_by_a_connection_of_its_own(home: Path) -> None:
    code = f"""
import os, featurestore
folder, rows = {str(home / "flights-demo")!r}, [{{"tailnum": {TAILNUM!r}}}]
read = lambda: featurestore.connect(folder).get_online_features("aircraft-delays", rows).to_dict()["last_arr_delay"]
assert read() == [11.0]
child = os.fork()
if not child:
    os._exit(0 if read() == [11.0] else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert (done.stdout, done.returncode) == ("0\n", 0), done.stderr


def test_the_server_of_the_example_answers(home: Path) -> None:
    (home / "server.py").write_text(SERVER)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "server:app", "--port", str(port)],
        cwd=home,
        env={**os.environ, "FEATURESTORE_URI": str(home / "flights-demo")},
        stderr=subprocess.STDOUT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        eventually(lambda: server.poll() is not None or _answers(port), 30)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/delays/{TAILNUM}") as response:
            answer = json.load(response)
    finally:
        server.terminate()
        server.communicate()
    assert answer["tailnum"] == TAILNUM
    assert answer["last_arr_delay"] == 11.0


def _answers(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0
