"""Generations that the processes of one server share: the first that wants one loads it into a file, and all map that.

The file stands in a folder of the server's own, which goes with it: outside of that each process has its own memory. It
is columns of Arrow and the table of hashes, behind a checksum that covers of which generation they are: what is
torn, or of another generation, is loaded again. Only the newest of a build stays; a mapped one is good until it
is let go, though its file is gone.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Self
from zlib import crc32

import numpy as np
import pyarrow as pa

from featurestore.digest import canonical_json
from featurestore.online.duckdb.generations import LAYOUT, Generation
from featurestore.online.duckdb.key_table import KeyBuckets
from featurestore.online.duckdb.loaded import LoadedGeneration
from featurestore.online.entities import Section, Stored
from featurestore.online.layout import Form
from featurestore.online.shared_folder import FOLDER

_MAGIC = b"fs-gen\x00\x01"
_HEAD = struct.Struct("<8sQI44x")
"""Magic, bytes that follow, and their checksum: a multiple of the 64 bytes that Arrow aligns by."""


class SharedGenerations:
    """``folder``: of this user alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def of_process(cls) -> Self | None:
        """Those of the server that this process is of; None if it shares with nobody."""
        folder = os.environ.get(FOLDER)
        return cls(Path(folder)) if folder else None

    def get(
        self, uri: str, generation: Generation, form: Form, load: Callable[[], LoadedGeneration]
    ) -> LoadedGeneration:
        """The generation, mapped; as it was loaded where there is no room for a file. Whoever is first loads it.

        ``uri``: the folder of its build. Raises what ``load`` raises.
        """
        identity = sha256(canonical_json([LAYOUT, uri, [list(file) for file in generation.files]])).digest()
        build = sha256(uri.encode()).hexdigest()[:16]
        path = self._folder / f"{build}-{identity.hex()}.arrow"
        with self._alone(build):
            shared = _mapped(path, identity, generation, form)
            if shared is None:
                loaded = load()
                shared = loaded
                with suppress(OSError):  # no room: it stays in the memory of this process
                    _write(path, identity, loaded)
                    shared = _mapped(path, identity, generation, form) or loaded
                del loaded
                pa.default_memory_pool().release_unused()
            with suppress(OSError):
                for other in self._folder.glob(f"{build}-*"):
                    if other != path:
                        other.unlink(missing_ok=True)
        return shared

    @contextmanager
    def _alone(self, build: str) -> Iterator[None]:
        """No other process is at this build meanwhile; where that cannot be said, each does all by itself."""
        try:
            lock = os.open(self._folder / f"lock-{build}", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError:
            yield
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _write(path: Path, identity: bytes, loaded: LoadedGeneration) -> None:
    part = path.with_suffix(".part")
    with part.open("wb+") as file:
        part.chmod(0o600)
        file.write(bytes(_HEAD.size))
        for batch in _batches(loaded):
            with pa.ipc.new_stream(file, batch.schema) as stream:
                stream.write_batch(batch)
        file.flush()
        with pa.memory_map(str(part)) as mapped:
            body = mapped.read_buffer().slice(_HEAD.size)
        file.seek(0)
        file.write(_HEAD.pack(_MAGIC, body.size, crc32(body, crc32(identity))))
    part.rename(path)


def _mapped(path: Path, identity: bytes, generation: Generation, form: Form) -> LoadedGeneration | None:
    """The generation as it stands in the file; None if there is none that is whole and of it."""
    try:
        with pa.memory_map(str(path)) as file:
            data = file.read_buffer()
    except OSError:
        return None
    if data.size < _HEAD.size:
        return None
    magic, size, checksum = _HEAD.unpack_from(data)
    body = data.slice(_HEAD.size)
    if magic != _MAGIC or size != body.size or crc32(body, crc32(identity)) != checksum:
        return None
    source = pa.BufferReader(body)
    keys, hashes, starts, *sections = (_batch(source) for _ in range(3 + len(form.sections)))
    stored = Stored(
        keys.column(0),
        keys.column(1).to_numpy(),
        tuple(
            Section(batch.column(0).to_numpy(), pa.RecordBatch.from_arrays(batch.columns[1:], schema=schema))
            for batch, schema in zip(sections, form.sections, strict=True)
        ),
    )
    buckets = KeyBuckets(
        hashes.column(0).to_numpy(), hashes.column(1).to_numpy(), starts.column(0).to_numpy()
    )
    return LoadedGeneration(generation, stored, buckets)


def _batches(loaded: LoadedGeneration) -> Iterator[pa.RecordBatch]:
    stored, buckets = loaded.stored, loaded.buckets
    yield _columns(stored.keys, stored.published_us)
    yield _columns(buckets.hashes, buckets.place)
    yield _columns(buckets.starts)
    for section in stored.sections:
        yield _columns(section.entity, *section.rows.columns)


def _columns(*columns: pa.Array | np.ndarray[tuple[int], np.dtype[np.generic]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [pa.array(column) for column in columns], [f"c{n}" for n in range(len(columns))]
    )


def _batch(source: pa.BufferReader) -> pa.RecordBatch:
    """The next one, of a stream of its own."""
    [batch] = pa.ipc.open_stream(source)
    return batch
