"""Rows that are read from the moment that they are pushed: packed, and put beside what is published."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

import numpy as np
import pyarrow as pa

from featurestore.online.entities import Section, Stored
from featurestore.online.entity_keys import key_texts
from featurestore.online.immediate import PushedFile
from featurestore.online.layout import CREATED_US, EVENT_US, ROWS, Form, section_rows, source_columns
from featurestore.online.packed.packing import Packing
from featurestore.online.pending_pushes import PendingPush
from featurestore.online.redis.build_keys import BuildKeys
from featurestore.online.redis.deployment import RedisDeployment
from featurestore.online.redis.early_values import EarlyValues, early_value

_PUT = "put"
_LATEST = 2**63 - 1


class RedisImmediate:
    """See :class:`featurestore.online.immediate.ImmediateValues`.

    ``has_created``: whether the view's rows bring their created time; else the later push counts as created later.
    """

    def __init__(self, redis: RedisDeployment, keys: BuildKeys, form: Form, has_created: bool) -> None:
        self._keys, self._form, self._has_created = keys, form, has_created
        self._packing = Packing(form, keys.checksum)
        self._values = EarlyValues(redis, keys)

    def announce(self, push: str, file: PushedFile, keys: pa.Array, now_us: int) -> bool:
        return self._values.announce(push, f"{now_us} {file.pipeline} {file.uri}", keys.to_pylist())

    def put(self, push: str, file: PushedFile, rows: pa.Table, now_us: int) -> bool:
        keys = key_texts(rows.select(self._form.keys.names).cast(self._form.keys))
        columns = source_columns(self._form.sections[ROWS])
        section = section_rows(self._form.sections[ROWS], rows.select(columns.names).cast(columns))
        each = Section(np.arange(rows.num_rows, dtype=np.int32), section)
        others = (Section.empty(schema) for schema in self._form.sections[ROWS + 1 :])
        stored = Stored(keys, np.full(rows.num_rows, now_us, np.int64), (each, *others))
        texts = keys.to_pylist()
        packed = self._packing.pack(stored, self._keys.names(texts)).to_pylist()
        created = each.integers(CREATED_US).tolist() if self._has_created else [_LATEST] * len(texts)
        values: dict[bytes, bytes] = defaultdict(bytes)
        for text, event_us, created_us, value in zip(
            texts, each.integers(EVENT_US).tolist(), created, packed, strict=True
        ):
            values[text] += early_value(push, event_us, created_us, value)
        return self._values.put(push, f"{_PUT} {file.pipeline} {file.uri}", values, now_us)

    def pending(self) -> Mapping[str, PendingPush]:
        pushes = {}
        for push, note in self._values.pending().items():
            when, pipeline, uri = note.split(" ", 2)
            pushes[push] = PendingPush(pipeline, uri, None if when == _PUT else int(when))
        return pushes

    def settle(self, pushes: Collection[str]) -> None:
        self._values.settle(pushes)
