"""Schemas by number, from a registry that speaks the protocol of Confluent's: ``GET /schemas/ids/7``."""

from __future__ import annotations

import base64
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from featurestore.errors import StorageError

USERNAME, PASSWORD = "SCHEMA_REGISTRY_USERNAME", "SCHEMA_REGISTRY_PASSWORD"
_TIMEOUT_S = 10.0
_LARGEST_BYTES = 4 << 20
_MOST = 1_000
"""Messages that are something else may begin with as many numbers as there are messages."""


@dataclass(frozen=True, slots=True)
class NoSchema:
    """``why`` there is no schema of a number that could be used; asking again would not help."""

    why: str


@dataclass(frozen=True, slots=True)
class SchemaFormat:
    """``name``: the registry's; AVRO is what it does not name. ``query``: of the URL. ``parse``: what is kept of its text; it
    may raise anything. ``refers``: whether a schema that refers to others can be used without them.
    """

    name: str
    query: str
    parse: Callable[[str], Any]
    refers: bool


HEAD_BYTES = 5
"""Of a value that begins with the number of its schema: a zero, and four bytes.

https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format
"""


def schema_number(value: bytes) -> int | None:
    """Of the schema by which a value of a registry was written."""
    return int.from_bytes(value[1:HEAD_BYTES]) if len(value) >= HEAD_BYTES and value[0] == 0 else None


def registry_schemas(
    url: str, values: Iterable[list[bytes]], environ: Mapping[str, str] | None, schema_format: SchemaFormat
) -> dict[int, Any]:
    """Numbers that values begin with to what the format makes of their schemas, or to :class:`NoSchema`.

    ``environ``: None for the process's own.

    Raises:
        StorageError: the registry does not answer.
    """
    known = os.environ if environ is None else environ
    headers = {"Accept": "application/vnd.schemaregistry.v1+json, application/json"}
    if known.get(USERNAME):
        login = f"{known[USERNAME]}:{known.get(PASSWORD, '')}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
    numbers = {number for some in values for value in some if (number := schema_number(value)) is not None}
    asked = sorted(numbers)
    schemas: dict[int, Any] = dict.fromkeys(
        asked[_MOST:], NoSchema(f"values begin with more than {_MOST:,} numbers of schemas")
    )
    for number in asked[:_MOST]:
        schemas[number] = _schema(url, number, headers, schema_format)
    return schemas


def _schema(url: str, number: int, headers: dict[str, str], schema_format: SchemaFormat) -> Any:
    asked = f"{url.rstrip('/')}/schemas/ids/{number}{schema_format.query}"
    try:
        with _OPENER.open(urllib.request.Request(asked, headers=headers), timeout=_TIMEOUT_S) as answer:
            document = json.loads(answer.read(_LARGEST_BYTES))
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return NoSchema(f"the registry has no schema {number}")
        raise _unanswered(url, f"HTTP {error.code}") from error
    except (OSError, ValueError) as error:
        raise _unanswered(url, str(error)) from error
    if not isinstance(document, dict) or document.get("schemaType", "AVRO") != schema_format.name:
        return NoSchema(f"schema {number} of the registry is not of format {schema_format.name}")
    if document.get("references") and not schema_format.refers:
        return NoSchema(f"schema {number} of the registry refers to other schemas")
    try:
        return schema_format.parse(document["schema"])
    except Exception as error:  # noqa: BLE001 - whatever is met in it
        return NoSchema(f"schema {number} of the registry cannot be read: {error}")


def _unanswered(url: str, got: str) -> StorageError:
    return StorageError("the registry of schemas does not answer", where=url, wanted="a schema", got=got)


class _Stay(urllib.request.HTTPRedirectHandler):
    """A registry that may be asked says nothing of where it leads to."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_Stay)
