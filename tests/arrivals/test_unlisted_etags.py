"""S3 servers that tell an object's ETag, but not in listings."""

from __future__ import annotations

import http.client
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from featurestore.arrivals.files.listing import find_arrival, find_pinned, list_arrivals, look
from featurestore.errors import StorageError
from featurestore.resources.data_pipeline import Source

from .conftest import SourceFolder

LISTED = re.compile(rb"<ETag>.*?</ETag>")


@contextmanager
def without_etags(endpoint: str, *, of_objects: bool = False) -> Iterator[str]:
    """A server before another one that leaves ETags out of its listings. ``of_objects``: also of its headers."""
    behind = urlsplit(endpoint)

    class Passing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            connection = http.client.HTTPConnection(behind.hostname or "", behind.port or 0)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
            shown = LISTED.sub(b"", content) if b"<ListBucketResult" in content else content
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() == "content-length":
                    self.send_header(name, value if self.command == "HEAD" else str(len(shown)))
                elif name.lower() != "etag" or not of_objects:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(shown)
            connection.close()

        do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Passing)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_object_has_one_version_however_it_is_looked_at(s3_root: str) -> None:
    folder = SourceFolder(f"{s3_root}/raw")
    uris = [folder.put(name, name.encode()) for name in ("a.csv", "b c.csv", "ä.csv")]
    source = folder.source("*.csv")
    told = {arrival.uri: arrival.version for arrival in list_arrivals(source)}
    with without_etags(os.environ["AWS_ENDPOINT_URL"]) as endpoint:
        environ = {**os.environ, "AWS_ENDPOINT_URL": endpoint}
        listed = list(list_arrivals(source, environ=environ))
        assert {arrival.uri: arrival.version for arrival in listed} == told
        assert [arrival.version for arrival in look(source, None, uris, environ)] == [*told.values()]
        for arrival in listed:
            current = find_arrival(arrival.uri, environ)
            assert current is not None
            assert current.version == arrival.version
            assert find_pinned(arrival, environ) == arrival
        folder.put("a.csv", b"other")
        changed = list(list_arrivals(source, environ=environ))
        assert [arrival.version == told[arrival.uri] for arrival in changed] == [False, True, True]


def test_a_server_that_tells_no_etag_at_all_is_refused(s3_root: str) -> None:
    folder = SourceFolder(f"{s3_root}/raw")
    folder.put("a.csv")
    source: Source = folder.source("*.csv")
    with without_etags(os.environ["AWS_ENDPOINT_URL"], of_objects=True) as endpoint:
        environ = {**os.environ, "AWS_ENDPOINT_URL": endpoint}
        with pytest.raises(StorageError, match="the server tells no ETag of it"):
            list(list_arrivals(source, environ=environ))
