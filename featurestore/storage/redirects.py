"""What a web server may answer: a redirect to itself and to nowhere else, and the version of a file that is being read.

A policy allows what a URL begins with. Whoever may write on a server that is allowed could otherwise have the operator, or
a Job, ask any other for them.
"""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import Any

from featurestore.timestamps import to_us

DIGEST = "digest-"
"""How a version begins that is a digest of bytes: no single answer of the server tells it."""
_PARTIAL = 206
_TOTAL = re.compile(r"bytes [0-9*-]+/([0-9]+)")


def only_version(version: str, *, ranges: bool = False) -> dict[str, Any]:
    """What fsspec is to give each request for a file of this version: an answer of another one ends with an OSError.

    So does, with ``ranges``, an answer with all of a file where a part was asked for. Bytes come as they are: a server that
    packs them may count others, and give them another ETag. ``version``: empty if any will do.
    """
    wanted = {"version": version, "ranges": ranges}
    return {"headers": {"Accept-Encoding": "identity"}, "trace_request_ctx": wanted}


async def same_server_client(**options: Any) -> Any:
    """A client for fsspec that follows redirects to the same protocol, host and port; others end with an OSError."""
    import aiohttp

    answers = aiohttp.TraceConfig()
    answers.on_request_redirect.append(_require_same_server)
    answers.on_request_end.append(_require_version)
    return aiohttp.ClientSession(trace_configs=[answers], **options)


async def _require_same_server(_session: Any, _context: Any, params: Any) -> None:
    from yarl import URL

    location = params.response.headers.get("Location") or params.response.headers.get("URI") or ""
    target = params.url.join(URL(location))
    if (target.scheme, target.host, target.port) != (params.url.scheme, params.url.host, params.url.port):
        place = f"{target.scheme}://{target.host}:{target.port}"
        raise OSError(
            f"the server redirects to {place}, which is another one: if that is right, name the URL there"
        )


async def _require_version(_session: Any, context: Any, params: Any) -> None:
    wanted, response = context.trace_request_ctx, params.response
    if wanted is None or not response.ok:
        return
    if wanted["version"] and not is_answer_of(wanted["version"], response.headers):
        response.close()
        raise OSError(f"the server answers with another version of the file than {wanted['version']}")
    if wanted["ranges"] and response.status != _PARTIAL:
        response.close()
        raise OSError("reading a file of this size by position is not supported by the server")


def modified_us(header: str | None) -> int:
    """Microseconds since 1970 of a time of change; 0 if it is not told, or has no meaning.

    >>> modified_us("Thu, 01 Jan 1970 00:00:01 GMT"), modified_us("yesterday"), modified_us(None)
    (1000000, 0, 0)
    """
    try:
        return to_us(parsedate_to_datetime(header)) if header else 0
    except ValueError:
        return 0


def is_answer_of(version: str, headers: Any) -> bool:
    """Whether an answer, all of a file or a range of it, may be of this version.

    >>> is_answer_of("abc", {"ETag": '"abc"'}), is_answer_of("abc", {"ETag": '"abd"'})
    (True, False)
    >>> is_answer_of("1000000-7", {"Last-Modified": "Thu, 01 Jan 1970 00:00:01 GMT", "Content-Range": "bytes 0-1/8"})
    False
    """
    if version.startswith(DIGEST):
        return True
    etag = headers.get("ETag")
    if etag:
        return bool(etag.strip('"') == version)
    modified, _, size = version.rpartition("-")
    time_us = modified_us(headers.get("Last-Modified"))
    if time_us and modified.isdecimal():
        total = _TOTAL.match(headers.get("Content-Range", ""))
        length = total[1] if total else size if "Content-Range" in headers else headers.get("Content-Length")
        return int(modified) == time_us and length in (None, size)
    return False
