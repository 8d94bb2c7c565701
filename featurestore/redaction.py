"""Credentials in URLs: how they are found, and how a text is shown without them.

Specs with such URLs are refused, and every error of this project passes through :func:`redact`, so that neither a
log, a status nor the registry ever holds them.
"""

from __future__ import annotations

import re

# A slash ends an authority, but a secret may hold one: whatever has a colon before the first slash and an @ later counts.
PASSWORD_PATTERN = r"(?is)(^|::)[a-z][a-z0-9+.-]*://[^/?#]*(:|%3a).*(@|%40)"
USER_PATTERN = r"(?is)(^|::)[a-z][a-z0-9+.-]*://[^/?#]*(@|%40)"
CONTAINER_PATTERN = r"(?is)^(az|abfss?)://[^/?#:@%]+@[^@:]*$"
"""How Azure names a container: ``abfss://container@account.dfs.core.windows.net/path``."""
QUERY_PATTERN = (
    r"(?is)[?&;#]([a-z0-9_.-]*(token|secret|passw|pwd|signature|credential|authorization|api_?key|api-key|access_?key|"
    r"access-key)[a-z0-9_.-]*|sig|key|auth|code)="
)
_URL = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)(\S+)")
_QUERY_VALUE = re.compile(QUERY_PATTERN + r"""[^&;#\s'"]*""")


def has_credentials(uri: str) -> bool:
    """Whether a URI holds a password, a user or a token.

    >>> has_credentials("s3://key:se/cret@bucket/a.csv"), has_credentials("https://host/a.csv?token=x")
    (True, True)
    >>> has_credentials("s3://bucket/who@where.csv"), has_credentials("abfss://raw@account.dfs.core.windows.net/a")
    (False, False)
    """
    if re.search(PASSWORD_PATTERN, uri) or re.search(QUERY_PATTERN, uri):
        return True
    return bool(re.search(USER_PATTERN, uri)) and not re.search(CONTAINER_PATTERN, uri)


def redact(text: str) -> str:
    """The text with stars in place of the credentials in its URLs.

    >>> redact("got 's3://key:se/cret@bucket/a.csv'"), redact("in https://host/a.csv?token=abc&x=1, wanted")
    ("got 's3://***@bucket/a.csv'", 'in https://host/a.csv?token=***&x=1, wanted')
    """
    return _URL.sub(_redacted, text) if "://" in text else text


def _redacted(url: re.Match[str]) -> str:
    scheme, rest = url.groups()
    if not has_credentials(scheme + rest):
        return url[0]
    kept = _QUERY_VALUE.sub(lambda match: f"{match[0].partition('=')[0]}=***", rest)
    if re.search(CONTAINER_PATTERN, scheme + kept):
        return scheme + kept
    _, at, place = re.sub("(?i)%40", "@", kept).rpartition("@")
    return f"{scheme}***@{place}" if at else scheme + kept
