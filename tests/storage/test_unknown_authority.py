"""Over TLS, no client of object storage says anything to a server whose certificate nobody known has signed."""

from __future__ import annotations

import http.server
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster.certificate import Authority

from featurestore.errors import StorageError
from featurestore.storage.delta import Table
from featurestore.storage.filesystem import filesystem
from featurestore.storage.objects import Storage

URL = "s3://features/x"
Environ = dict[str, str]


@pytest.fixture
def heard() -> list[str]:
    """What was asked of the server."""
    return []


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path, "nobody")


@pytest.fixture
def keys(authority: Authority, heard: list[str]) -> Iterator[Environ]:
    """Those of a storage at an address of which only the certificate is wrong."""
    signed = authority.sign("server", "server", hosts=["127.0.0.1"])

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.path)
            self.send_error(404)

        do_HEAD = do_PUT = do_GET

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(signed.certificate, signed.key)

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Says nothing of clients that go away."""

    server = Server(("127.0.0.1", 0), Handler)
    server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_ENDPOINT_URL": f"https://127.0.0.1:{server.server_address[1]}",
    }
    server.shutdown()
    server.server_close()


def by_s3fs(keys: Environ) -> object:
    opened, path = filesystem(URL, keys)
    return opened.ls(path)


def by_obstore(keys: Environ) -> object:
    return Storage(URL, keys).read("a")


def by_delta(keys: Environ) -> object:
    return Table.open(Storage(URL, keys), "t")


@pytest.mark.parametrize("ask", [by_s3fs, by_obstore, by_delta], ids=["s3fs", "obstore", "delta-rs"])
def test_an_authority_that_nobody_knows_is_not_believed(
    keys: Environ, heard: list[str], authority: Authority, ask: Callable[[Environ], object]
) -> None:
    with pytest.raises((StorageError, OSError)):
        ask(keys)
    assert heard == []
    # Nothing but its certificate is in the way.
    trusting = ssl.create_default_context(cafile=str(authority.own.certificate))
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(keys["AWS_ENDPOINT_URL"], timeout=60, context=trusting)
    assert heard == ["/"]
