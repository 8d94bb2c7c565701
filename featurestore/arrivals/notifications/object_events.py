"""Which objects a posted message is about, in the words of whoever posts it.

=============================  ==========================================================================================
Amazon S3, MinIO, versitygw    ``Records[].s3``: the key is URL-encoded, by versitygw as it is; also inside SNS
Amazon EventBridge             ``detail.bucket.name``, ``detail.object.key`` as it is
Google Cloud Storage           Pub/Sub push: ``message.attributes.bucketId`` and ``objectId``; CloudEvents: ``data.bucket``
Azure Blob Storage             Event Grid: ``data.url``, URL-encoded, in a list of events, or as CloudEvents
whatever else                  CloudEvents, or JSON, with ``uri`` or ``url`` (in ``data``)
=============================  ==========================================================================================

CloudEvents come as one event, as a batch, or with their attributes as headers. Etag, sequencer and sizes are not read: a
look at the object says how it is now. Where a key may be encoded or not, both readings are given: one of them is not there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, unquote_plus, urlsplit

from featurestore.errors import RequestError

_MOST_KEY_BYTES = 1024
"""No object storage has longer keys."""
_AZURE = ".blob.core.windows.net", ".dfs.core.windows.net"


@dataclass(frozen=True, slots=True)
class Message:
    """``urls``: of objects, each once, as ``s3://bucket/key``, ``gs://bucket/key`` or ``abfss://container@account/key``.

    ``validation``: the code that Event Grid wants back before it sends anything. ``confirm``: the page that SNS wants
    opened before.
    """

    urls: tuple[str, ...] = ()
    validation: str = ""
    confirm: str = ""


def read_message(body: bytes) -> Message:
    """What a posted message says; nothing of it if it is of a form that is not known.

    >>> read_message(b'{"uri": "s3://raw/a.csv"}').urls
    ('s3://raw/a.csv',)

    Raises:
        RequestError: it is not JSON.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError("the body is not JSON", where="a notification") from error
    events = [event for event in (value if isinstance(value, list) else [value]) if isinstance(event, dict)]
    urls = dict.fromkeys(url for event in events for url in _urls(event) if _is_possible(url))
    return Message(tuple(urls), _validation(events), _confirm(events))


def _urls(event: dict[str, Any]) -> Iterator[str]:
    if event.get("Type") == "Notification":
        # SNS wraps what it is given as a text.
        yield from _wrapped(event.get("Message"))
    yield from _s3_urls(_object(event.get("detail")), decodes=False)
    yield from _gcs_urls(_object(_object(event.get("message")).get("attributes")), "bucketId", "objectId")
    # CloudEvents in a header have nothing around their data.
    for data in (event, _object(event.get("data"))):
        records = data.get("Records")
        for record in records if isinstance(records, list) else [data]:
            yield from _s3_urls(_object(_object(record).get("s3")), decodes=True)
        yield from _gcs_urls(data, "bucket", "name")
        yield from _named(data.get("url"))
        yield from _named(data.get("uri"))


def _s3_urls(event: dict[str, Any], *, decodes: bool) -> Iterator[str]:
    bucket, key = _object(event.get("bucket")).get("name"), _object(event.get("object")).get("key")
    if isinstance(bucket, str) and isinstance(key, str):
        yield f"s3://{bucket}/{key}"
        if decodes:
            yield f"s3://{bucket}/{unquote_plus(key)}"


def _gcs_urls(event: dict[str, Any], bucket_name: str, key_name: str) -> Iterator[str]:
    bucket, key = event.get(bucket_name), event.get(key_name)
    if isinstance(bucket, str) and isinstance(key, str):
        yield f"gs://{bucket}/{key}"


def _named(url: object) -> Iterator[str]:
    """A URL as it is given; an Azure blob's as its container has it."""
    if not isinstance(url, str) or "://" not in url:
        return
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return
    if parts.scheme == "https" and host.endswith(_AZURE):
        container, _, key = parts.path.lstrip("/").partition("/")
        yield from (f"abfss://{container}@{host.partition('.')[0]}/{path}" for path in (key, unquote(key)))
    else:
        yield url


def _wrapped(text: object) -> Iterator[str]:
    if isinstance(text, str):
        try:
            inner = json.loads(text)
        except (ValueError, RecursionError):
            return
        if isinstance(inner, dict) and inner.get("Type") != "Notification":
            yield from _urls(inner)


def _validation(events: list[dict[str, Any]]) -> str:
    for event in events:
        code = _object(event.get("data")).get("validationCode")
        if event.get("eventType") == "Microsoft.EventGrid.SubscriptionValidationEvent" and isinstance(
            code, str
        ):
            return code
    return ""


def _confirm(events: list[dict[str, Any]]) -> str:
    for event in events:
        url = event.get("SubscribeURL")
        if event.get("Type") == "SubscriptionConfirmation" and isinstance(url, str):
            return url
    return ""


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_possible(url: str) -> bool:
    """Whether an object may have this URL: others are not worth a request."""
    _, _, path = url.partition("://")
    bucket, _, key = path.partition("/")
    try:
        return bool(bucket and key) and "\x00" not in url and len(key.encode()) <= _MOST_KEY_BYTES
    except UnicodeEncodeError:
        return False
