"""A proxy before an S3 server: counts listings of a bucket, and refuses everything with 503 for as long as it is told to."""

from __future__ import annotations

from contextlib import AbstractContextManager

from bench.http_proxy import HttpProxy, served

_SLOW_DOWN = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\nContent-Length: 73\r\n\r\n"
    b"<Error><Code>SlowDown</Code><Message>Reduce your rate.</Message></Error> "
)


class ObjectProxy(HttpProxy):
    """``target``: a port of this machine. ``listings``: of ``bucket``, that were let through; ``requests``: all of these."""

    def __init__(self, target: int, bucket: str) -> None:
        super().__init__(target)
        self.bucket = bucket
        self.requests = self.listings = self.refused = 0
        self.is_refusing = False

    async def answer(self, line: bytes) -> bytes | None:
        if self.is_refusing:
            self.refused += 1
            return _SLOW_DOWN
        self.requests += 1
        if line.startswith((f"GET /{self.bucket}?".encode(), f"GET /{self.bucket}/?".encode())):
            self.listings += b"list-type" in line
        return None


def object_proxy(target: int, bucket: str) -> AbstractContextManager[ObjectProxy]:
    """The proxy, until the end of the block."""
    return served(ObjectProxy(target, bucket))
