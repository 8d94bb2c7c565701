"""Schemas by number, from a registry that speaks the protocol of Confluent's: ``GET /schemas/ids/7``."""

from __future__ import annotations

import base64
import json
import os
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import fastavro

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


def registry_schemas(url: str, numbers: Collection[int], environ: Mapping[str, str] | None) -> dict[int, Any]:
    """Number to the schema, as fastavro has it, or to :class:`NoSchema`. ``environ``: None for the process's own.

    Raises:
        StorageError: the registry does not answer.
    """
    known = os.environ if environ is None else environ
    headers = {"Accept": "application/vnd.schemaregistry.v1+json, application/json"}
    if known.get(USERNAME):
        login = f"{known[USERNAME]}:{known.get(PASSWORD, '')}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
    asked = sorted(numbers)
    schemas: dict[int, Any] = dict.fromkeys(
        asked[_MOST:], NoSchema(f"values begin with more than {_MOST:,} numbers of schemas")
    )
    for number in asked[:_MOST]:
        schemas[number] = _schema(url, number, headers)
    return schemas


def _schema(url: str, number: int, headers: dict[str, str]) -> Any:
    request = urllib.request.Request(f"{url.rstrip('/')}/schemas/ids/{number}", headers=headers)
    try:
        with _OPENER.open(request, timeout=_TIMEOUT_S) as answer:
            document = json.loads(answer.read(_LARGEST_BYTES))
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return NoSchema(f"the registry has no schema {number}")
        raise _unanswered(url, f"HTTP {error.code}") from error
    except (OSError, ValueError) as error:
        raise _unanswered(url, str(error)) from error
    if (
        not isinstance(document, dict)
        or document.get("schemaType", "AVRO") != "AVRO"
        or document.get("references")
    ):
        return NoSchema(f"schema {number} of the registry is not Avro, or refers to other schemas")
    try:
        return fastavro.parse_schema(json.loads(document["schema"]))
    except Exception as error:  # noqa: BLE001 - whatever fastavro meets in it
        return NoSchema(f"schema {number} of the registry cannot be read: {error}")


def _unanswered(url: str, got: str) -> StorageError:
    return StorageError("the registry of schemas does not answer", where=url, wanted="a schema", got=got)


class _Stay(urllib.request.HTTPRedirectHandler):
    """A registry that may be asked says nothing of where it leads to."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_Stay)
