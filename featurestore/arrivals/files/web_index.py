"""A document on a web server that lists files: ``source.index``. A line has a URL, or an object of JSON with ``url``."""

from __future__ import annotations

import json
import re
from urllib.parse import unquote, urljoin

from featurestore.errors import StorageError
from featurestore.humanize import count
from featurestore.storage.web import read_document

MOST_FILES = 10_000
MOST_BYTES = 4 << 20
_NO_URL = re.compile(r"""[\s<>"{}|\\^`\x00-\x1f\x7f]""")
_SHOWN = 100


class WebIndex:
    """``url``: of the document. It is sent again only if the server does not know that it is as it was."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._etag = ""
        self._listed: tuple[list[str], str] = [], ""

    def read(self) -> tuple[list[str], str]:
        """The URLs that it lists, sorted, each once; and what is wrong with lines that have none, empty if nothing is.

        Raises:
            StorageError: the server did not answer, there is no index, or it is too large.
        """
        data = bytearray()
        answer = read_document(self.url, MOST_BYTES, data.extend, known_etag=self._etag)
        if answer is None:
            raise StorageError(
                "there is no index of files", where=self.url, wanted="a document", got="none there"
            )
        if answer.is_new:
            urls, wrong = parse_index(self.url, bytes(data))
            if len(urls) > MOST_FILES:
                wanted = f"{MOST_FILES:,} files at most"
                raise StorageError(
                    "the index lists too many files", where=self.url, wanted=wanted, got=f"{len(urls):,}"
                )
            others = f", and {count(len(wrong) - 1, 'other')} like it" if len(wrong) > 1 else ""
            self._etag, self._listed = answer.etag, (urls, f"{wrong[0]}{others}" if wrong else "")
        return self._listed


def parse_index(url: str, data: bytes) -> tuple[list[str], list[str]]:
    """What the document at ``url`` lists, sorted, each once; and what is wrong with lines that have no URL.

    >>> parse_index("https://example.org/data/index.txt", b'a.csv\\n# more\\n{"url": "/b.csv"}\\n<html>\\n')
    (['https://example.org/b.csv', 'https://example.org/data/a.csv'], ["line 4: '<html>' is not a URL"])
    """
    urls, wrong = set(), []
    for number, line in enumerate(data.decode("utf-8-sig", errors="replace").split("\n"), 1):
        entry = line.strip()
        if entry and not entry.startswith("#"):
            try:
                urls.add(_file_url(url, entry))
            except ValueError as error:
                wrong.append(f"line {number}: {error}")
    return sorted(urls), wrong


def _file_url(index: str, entry: str) -> str:
    shown = repr(entry[:_SHOWN])
    if entry.startswith("{"):
        try:
            entry = str(json.loads(entry)["url"])
        except (ValueError, KeyError, RecursionError) as error:
            raise ValueError(f"{shown} is not JSON with a url") from error
    if not entry or _NO_URL.search(entry):
        raise ValueError(f"{shown} is not a URL")
    if "?" in entry or "#" in entry:
        # What is signed has another query each time, and would be another file.
        raise ValueError(f"{shown} has a query or a fragment, and a file is known by its path")
    file = urljoin(index, entry)
    protocol, _, place = file.partition("://")
    server, _, path = place.partition("/")
    if protocol not in ("http", "https") or not server or "@" in server:
        raise ValueError(f"{shown} is not a URL of http or https without credentials")
    if is_unresolved(path):
        raise ValueError(f"{shown} has a part that means another folder")
    return file


def is_unresolved(path: str) -> bool:
    """Whether a client would ask for another path than this one: a policy and a glob are about what is written.

    >>> is_unresolved("data/%2e%2e/secret.csv"), is_unresolved("data/a..csv")
    (True, False)
    """
    return any(unquote(part) in (".", "..") for part in path.split("/"))
