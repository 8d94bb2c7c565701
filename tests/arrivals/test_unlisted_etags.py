"""S3 servers that list no ETags, or tell none of an object."""

from __future__ import annotations

import http.client
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

import storage_server
from http_server import answering

from featurestore.arrivals.files.listing import find_arrival, find_pinned, list_arrivals, look
from featurestore.resources.data_pipeline import Source

from .conftest import SourceFolder

LISTED = re.compile(rb"<ETag>.*?</ETag>")


@contextmanager
def without_etags(endpoint: str) -> Iterator[str]:
    """A server before another one that leaves ETags out of its listings."""
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
                else:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(shown)
            connection.close()

        do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

        def log_message(self, *_: object) -> None: ...

    with answering(Passing) as port:
        yield f"http://127.0.0.1:{port}"


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


def test_an_object_without_an_etag_has_its_time_and_size_as_version(tmp_path: Path) -> None:
    (tmp_path / "bucket" / "raw").mkdir(parents=True)
    # The server tells no ETag of what it did not write itself.
    path, uri = tmp_path / "bucket" / "raw" / "a.csv", "s3://bucket/raw/a.csv"
    path.write_bytes(b"x")
    os.utime(path, ns=(1_700_000_000_123_456_789,) * 2)
    with storage_server.s3(tmp_path) as environ:
        source = Source.model_validate({"uri": "s3://bucket/raw/*.csv", "format": "CSV"})
        (listed,) = list_arrivals(source, environ=environ)
        assert listed.version == "1700000000000000-1"
        assert look(source, None, [uri], environ) == [listed]
        assert find_arrival(uri, environ) == listed
        assert find_pinned(listed, environ) == listed
        os.utime(path, ns=(1_700_000_001_000_000_000,) * 2)
        current = find_pinned(listed, environ)
        assert current is not None
        assert current.version == "1700000001000000-1"
