"""Files on a web server as a source: one that does not answer is never an empty one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from server import free_port

from featurestore.arrivals.files.listing import find_arrival, list_arrivals
from featurestore.errors import StorageError
from featurestore.resources.data_pipeline import Source


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """URL of a server that shows the files of ``tmp_path``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def source(uri: str) -> Source:
    return Source.model_validate({"uri": uri, "format": "CSV"})


@pytest.mark.parametrize("path", ["a.csv", "*.csv", "**/*.csv"])
def test_a_server_that_does_not_answer_is_a_failed_observation(path: str) -> None:
    dead = f"http://127.0.0.1:{free_port()}/raw/{path}"
    with pytest.raises(StorageError):
        list(list_arrivals(source(dead)))
    with pytest.raises(StorageError):
        find_arrival(dead)


def test_one_file_is_known_by_its_size_and_version(web: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    [arrival] = list_arrivals(source(f"{web}/a.csv"))
    assert (arrival.uri, arrival.size_bytes) == (f"{web}/a.csv", 4)
    assert find_arrival(arrival.uri) == arrival


def test_a_file_that_the_server_does_not_have_is_not_there_yet(web: str) -> None:
    assert list(list_arrivals(source(f"{web}/a.csv"))) == []


def test_the_index_of_a_folder_is_its_listing(web: str, tmp_path: Path) -> None:
    (tmp_path / "raw" / "deep").mkdir(parents=True)
    for name in ("raw/a.csv", "raw/deep/b.csv", "raw/c.txt"):
        (tmp_path / name).write_text("a\n1\n")
    found = [arrival.uri for arrival in list_arrivals(source(f"{web}/raw/**/*.csv"))]
    assert found == [f"{web}/raw/a.csv", f"{web}/raw/deep/b.csv"]


def test_a_folder_without_an_index_is_not_an_empty_one(web: str) -> None:
    with pytest.raises(StorageError, match="no index of files"):
        list(list_arrivals(source(f"{web}/gone/*.csv")))
