"""Files on a web server as a source: one that does not answer is never an empty one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest
from http_server import answering
from server import free_port

from featurestore.arrivals.files.listing import find_arrival, list_arrivals
from featurestore.errors import StorageError
from featurestore.resources.data_pipeline import Source
from featurestore.storage.filesystem import open_file


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


class _Elsewhere(_Quiet):
    """Sends whoever asks for ``/moved/…`` to that path on this server, and for ``/away/…`` to another server."""

    other = ""

    def do_HEAD(self) -> None:
        if not self._redirected():
            super().do_HEAD()

    def do_GET(self) -> None:
        if not self._redirected():
            super().do_GET()

    def _redirected(self) -> bool:
        _, kind, *rest = self.path.split("/")
        if kind not in ("moved", "away"):
            return False
        self.send_response(302)
        self.send_header("Location", ("" if kind == "moved" else self.other) + "/" + "/".join(rest))
        self.send_header("Content-Length", "0")
        self.end_headers()
        return True


@contextmanager
def serving(folder: Path, handler: type[_Quiet] = _Quiet) -> Iterator[str]:
    with answering(partial(handler, directory=str(folder))) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """URL of a server that shows the files of ``tmp_path``."""
    with serving(tmp_path) as url:
        yield url


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


def test_a_redirect_is_followed_on_the_same_server_and_to_no_other(web: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    handler = type("Redirecting", (_Elsewhere,), {"other": web})
    with serving(tmp_path, handler) as url:
        [moved] = list_arrivals(source(f"{url}/moved/a.csv"))
        with open_file(moved.uri, None) as file:
            assert file.read() == b"a\n1\n"
        with pytest.raises(StorageError, match=r"redirects to http://127\.0\.0\.1:\d+, which is another one"):
            list(list_arrivals(source(f"{url}/away/a.csv")))
        with pytest.raises(FileNotFoundError), open_file(f"{url}/away/a.csv", None) as file:
            file.read()
