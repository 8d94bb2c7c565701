"""An erasure that a resource asks for: its keys are read, it is begun once, and finished."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from featurestore.erasure.begin import Intent, begin_erasure, requested_erasure
from featurestore.erasure.coverage import cover
from featurestore.erasure.key_file import read_keys
from featurestore.errors import NotFound
from featurestore.protocol import EraseKeysRequest, ErasureRequest, ErasureResult, Progress
from featurestore.storage.credentials import source_environ
from featurestore.storage.filesystem import answering, open_file
from featurestore.storage.objects import Storage
from featurestore.timestamps import current_us
from featurestore_transforms.erasure.erase import run_erasure


def erase_keys(
    storage: Storage, request: EraseKeysRequest, progress: Callable[[Progress], None]
) -> ErasureResult:
    """The record of the erasure, which is finished now. Once it has begun, its file is not read any more.

    Raises:
        NotFound: there is no such file, view or entity.
        RequestError: the file has no such keys.
        TransientError: a rebuild is being promoted, or a view has not followed one yet.
        StorageError: storage or the online store did not answer.
    """
    begun = requested_erasure(storage, request.request)
    number = begun.number if begun is not None else _begin(storage, request)
    return run_erasure(storage, ErasureRequest(root=request.root, number=number), progress)


def _begin(storage: Storage, request: EraseKeysRequest) -> int:
    coverage = cover(storage, entity=request.entity, view=request.view)
    # Of this process alone, and gone with it: the file has the keys in the clear.
    with tempfile.TemporaryDirectory() as folder:
        keys = read_keys(_fetched(request.uri, Path(folder)), coverage.keys)
    intent = Intent(coverage, tuple(keys), request.allow_return, request.asked_by, request.request)
    return begin_erasure(storage, intent, current_us())


def _fetched(uri: str, folder: Path) -> Path:
    file = folder / uri.rpartition("/")[2]
    with answering("the file of keys cannot be read", uri):
        try:
            with open_file(uri, source_environ()) as source, file.open("xb") as copy:
                shutil.copyfileobj(source, copy)
        except FileNotFoundError as error:
            raise NotFound("there is no such file", where="spec.keys.uri", got=uri) from error
    return file
