"""The record of an erasure: what was done, signed.

The signature is an HMAC-SHA256 of all other fields. It shows that whoever has the key wrote the record so, and that
nobody without the key has changed it since. It does not show that nothing is left anywhere else: what the record says
of that can be checked by looking, and only there. A key that stands in the storage root shows less: whoever may write
there can sign.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Literal

from featurestore.digest import canonical_json
from featurestore.errors import NotFound, RequestError
from featurestore.resources.model import Model
from featurestore.storage import paths
from featurestore.storage.json_record import read_record
from featurestore.storage.objects import Storage

SIGNING_KEY = "FEATURESTORE_SIGNING_KEY"
_LEAST = 16


class TableErasure(Model):
    """One Delta table: ``commit`` is the version that is without the rows, None if it had none before.

    ``files``: data files that were deleted from storage. ``log``: commits whose statistics were shortened; both by the
    run that finished. ``unread``: files that no commit names and that could not be read: they were left.
    """

    path: str
    commit: int | None = None
    rows: int = 0
    files: int = 0
    log: int = 0
    unread: int = 0


class OnlineErasure(Model):
    """A build online: the version of its table that the store holds; None if it is forgotten as a whole."""

    view: str
    build: str
    version: int | None


class SourceWithKeys(Model):
    """A source file that had rows of the keys when it was taken. It is its owner's, and was not touched."""

    pipeline: str
    uri: str
    version: str
    batch: int
    rows: int


class ErasureRecord(Model):
    """What was done. ``keys``: how many; ``hashes``: SHA-256 of their salted hashes. Times: UTC microseconds.

    ``retired``: builds of views that nobody read any more, deleted as a whole. ``copies``: pipelines that look up a
    dataset that is named here: their own datasets were not touched.
    """

    number: int
    entity: str
    keys: int
    hashes: str
    asked_us: int
    asked_by: str
    finished_us: int
    may_return: bool
    tables: tuple[TableErasure, ...]
    online: tuple[OnlineErasure, ...]
    retired: tuple[str, ...]
    sources: tuple[SourceWithKeys, ...]
    copies: tuple[str, ...]
    code_version: str
    signed_with: Literal["given", "root"] = "root"
    key_id: str = ""
    signature: str = ""


def signed(record: ErasureRecord, storage: Storage, environ: Mapping[str, str]) -> ErasureRecord:
    """The record with its signature, by the key that ``FEATURESTORE_SIGNING_KEY`` gives; else by the storage root's own.

    Raises:
        RequestError: the key that is given is too short.
        StorageError: storage did not answer.
    """
    given = environ.get(SIGNING_KEY)
    if given is not None and len(given) < _LEAST:
        raise RequestError(
            "the signing key is too short", where=SIGNING_KEY, wanted=f"at least {_LEAST} characters"
        )
    key = given.encode() if given is not None else _key_of_root(storage)
    named = record.model_copy(
        update={"signed_with": "root" if given is None else "given", "key_id": _id(key)}
    )
    return named.model_copy(update={"signature": _signature(named, key)})


def verify(record: ErasureRecord, storage: Storage, environ: Mapping[str, str]) -> None:
    """Nothing, if the record is as it was signed.

    Raises:
        RequestError: it was signed with another key than is given, or was changed.
    """
    where = f"erasure {record.number}"
    given = environ.get(SIGNING_KEY)
    if record.signed_with == "given" and given is None:
        raise RequestError("this record was signed with a key of your own", where=where, wanted=SIGNING_KEY)
    key = given.encode() if record.signed_with == "given" and given else _key_of_root(storage)
    if _id(key) != record.key_id:
        raise RequestError("this is another key", where=where, wanted=record.key_id, got=_id(key))
    if not hmac.compare_digest(_signature(record, key), record.signature):
        raise RequestError("the record was changed after it was signed", where=where)


def read_erasure_record(storage: Storage, number: int) -> ErasureRecord | None:
    """The record; None while the erasure is not finished.

    Raises:
        StorageError: storage did not answer.
    """
    path = paths.erasure_record(number)
    return read_record(storage, path, ErasureRecord, "the record of an erasure", "Restore it from a backup")


def require_record(storage: Storage, number: int) -> ErasureRecord:
    """Raises NotFound if there is no such erasure, or it is not finished."""
    record = read_erasure_record(storage, number)
    if record is None:
        raise NotFound(
            "there is no record of this erasure",
            got=str(number),
            hint="`featurestore erase --resume` finishes what was begun",
        )
    return record


def _signature(record: ErasureRecord, key: bytes) -> str:
    fields = record.model_dump(mode="json", by_alias=True, exclude={"signature"})
    return hmac.new(key, canonical_json(fields), hashlib.sha256).hexdigest()


def _id(key: bytes) -> str:
    return hashlib.sha256(b"featurestore signing key:" + key).hexdigest()[:16]


def _key_of_root(storage: Storage) -> bytes:
    storage.put_if_absent(paths.SIGNING_KEY, secrets.token_hex(32).encode())
    return storage.read(paths.SIGNING_KEY)
