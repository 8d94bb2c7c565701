"""Where a web server may send those who ask it for a file: to the same server, and nowhere else.

A policy allows what a URL begins with. Whoever may write on a server that is allowed could otherwise have the operator, or
a Job, ask any other for them.
"""

from __future__ import annotations

from typing import Any


async def same_server_client(**options: Any) -> Any:
    """A client for fsspec that follows redirects to the same protocol, host and port; others end with an OSError."""
    import aiohttp

    redirects = aiohttp.TraceConfig()
    redirects.on_request_redirect.append(_require_same_server)
    return aiohttp.ClientSession(trace_configs=[redirects], **options)


async def _require_same_server(_session: Any, _context: Any, params: Any) -> None:
    from yarl import URL

    location = params.response.headers.get("Location") or params.response.headers.get("URI") or ""
    target = params.url.join(URL(location))
    if (target.scheme, target.host, target.port) != (params.url.scheme, params.url.host, params.url.port):
        place = f"{target.scheme}://{target.host}:{target.port}"
        raise OSError(
            f"the server redirects to {place}, which is another one: if that is right, name the URL there"
        )
