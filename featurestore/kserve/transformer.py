"""Between a client that has keys and a predictor that wants features."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from kserve import InferRequest, Model
from kserve.errors import InvalidInput, ModelNotReady

from featurestore.client.connection import Store, connect
from featurestore.client.trained_features import TrainedFeatures
from featurestore.errors import FeatureStoreError, NotFound, RequestError, TransientError
from featurestore.kserve.tensors import column_of, tensor_of
from featurestore.views.schema import arrow_type
from featurestore.views.served import ServedViews

if TYPE_CHECKING:
    from featurestore.client.answers import Answer
    from featurestore.client.feature_reader import FeatureReader

COMMITS_HEADER = "featurestore-commits"
"""Of a response: ``view=version`` of each view that was read, separated by commas."""
_CHECKED_S = 1.0
"""How long it is trusted that the store answers."""
_commits: ContextVar[str] = ContextVar("commits", default="")


class FeatureTransformer(Model):  # type: ignore[misc]
    """A model of KServe's server whose requests have keys. The predictor gets the features of now, in their order.

    v1: ``{"instances": [{"tailnum": "N14228"}]}`` becomes ``{"instances": [[11.0, …]]}``. v2: an input for each key becomes
    an input for each feature. What else a request has is passed on. A key that is not known gives nulls.

    ``features``: as in :meth:`featurestore.client.connection.Store.get_features`, or those that a model was trained on.
    ``columns``: what the predictor gets, if not all features; columns of the request can be among them. ``fill``: feature to
    what stands for a value that is not there. ``timeout``: seconds that the online store may take. ``allow_changed``: also
    if views define what a model was trained on otherwise.
    """

    def __init__(
        self,
        name: str,
        features: str | Sequence[str] | TrainedFeatures,
        *,
        store: Store | str | Path | None = None,
        columns: Sequence[str] | None = None,
        fill: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        allow_changed: bool = False,
    ) -> None:
        super().__init__(name)
        self._trained = features if isinstance(features, TrainedFeatures) else None
        self._features = features.features if isinstance(features, TrainedFeatures) else features
        self._columns = columns if columns is not None or self._trained is None else self._trained.columns
        self._where, self._fill, self._timeout = store, dict(fill or {}), timeout
        self._allow_changed = allow_changed
        self._filled: dict[str, pa.Scalar] = {}
        self._reader: FeatureReader | None = None
        self._checked_s, self._is_healthy = float("-inf"), False

    def load(self) -> bool:
        """Open the store, and be ready.

        Raises:
            NotFound: there is no store, or a view or a feature is unknown.
            RequestError: a view is not published online, or is not what the model was trained on.
            StorageError: storage or the online store did not answer.
        """
        where = self._where or (self._trained.store if self._trained else None)
        store = where if isinstance(where, Store) else connect(where)
        if self._trained is not None and not self._allow_changed:
            storage = store.project.storage
            self._trained.require_same(storage, ServedViews(storage))
        reader = store.reader(self._features, timeout=self._timeout)
        reader.check()
        resolution = reader.resolution()
        known = dict(zip(resolution.names((), False), resolution.columns, strict=True))
        for name, value in self._fill.items():
            if name not in known:
                raise RequestError(f"there is no feature {name!r}", where="fill", got=", ".join(known))
            kind = arrow_type(known[name].output.type)
            try:
                self._filled[name] = pa.scalar(value, kind)
            except (pa.ArrowException, TypeError) as error:
                raise RequestError(
                    "this is not a value of the feature",
                    where=f"fill, {name!r}",
                    wanted=str(kind),
                    got=repr(value),
                ) from error
        self._reader, self.ready = reader, True
        return True

    def start(self) -> None:
        """Nothing: it is ready when it has loaded."""

    async def healthy(self) -> bool:
        """Whether the store answers and holds all views, as it was within the last second."""
        if self._reader is None:
            return False
        now = time.monotonic()
        if now - self._checked_s >= _CHECKED_S:
            self._is_healthy = await asyncio.to_thread(self._answers)
            self._checked_s = time.monotonic()
        return self._is_healthy

    async def __call__(self, *arguments: Any, **named: Any) -> Any:
        response, headers = await super().__call__(*arguments, **named)
        return response, {**headers, COMMITS_HEADER: _commits.get()}

    async def preprocess(self, payload: Any, headers: Any = None) -> Any:
        """The request that the predictor gets.

        Raises:
            InvalidInput: it has no instances, or a key is missing or of the wrong type.
            ModelNotReady: the store did not answer.
        """
        if isinstance(payload, InferRequest):
            return await self._tensors(payload)
        if isinstance(payload, bytes):  # Of a client that did not say that it sends JSON.
            payload = _json(payload)
        if not isinstance(payload, dict) or not isinstance(payload.get("instances"), list):
            raise InvalidInput('wanted {"instances": [{"key": value, …}, …]}')
        instances = payload["instances"]
        assert self._reader is not None
        resolution = self._reader.resolution()
        needed = [*resolution.key_types, *resolution.request]
        for number, instance in enumerate(instances):
            if not isinstance(instance, dict):
                raise InvalidInput(f"instance {number}: wanted a mapping of keys to values, got {instance!r}")
            for name in needed:
                if name not in instance:
                    raise InvalidInput(f"instance {number}: there is no {name!r}, which its features need")
        if not instances:
            return payload
        names = list(dict.fromkeys(name for instance in instances for name in instance))
        entities = {name: [instance.get(name) for instance in instances] for name in names}
        taken = self._taken(await self._read(entities), entities)
        columns = [[_plain(value) for value in _list(values)] for values in taken.values()]
        return {**payload, "instances": [list(row) for row in zip(*columns, strict=True)]}

    async def _tensors(self, request: InferRequest) -> InferRequest:
        entities = {tensor.name: column_of(tensor) for tensor in request.inputs}
        if len({len(values) for values in entities.values()}) != 1:
            raise InvalidInput(
                f"wanted inputs of as many rows each, got { {name: len(values) for name, values in entities.items()} }"
            )
        taken = self._taken(await self._read(entities), entities)
        return InferRequest(
            model_name=request.model_name,
            infer_inputs=[tensor_of(name, values) for name, values in taken.items()],
            request_id=request.id,
            parameters={**(request.parameters or {}), "content_type": "pd"},
            request_outputs=request.request_outputs,
            model_version=request.model_version,
        )

    async def _read(self, entities: dict[str, list[Any]]) -> Answer:
        assert self._reader is not None
        try:
            answer = await self._reader.read_async(entities)
        except RequestError as error:
            raise InvalidInput(str(error)) from error
        except (NotFound, TransientError) as error:
            self._checked_s = float("-inf")
            raise ModelNotReady(self.name, str(error)) from error
        _commits.set(",".join(f"{view}={version}" for view, version in sorted(answer.commits.items())))
        return answer

    def _taken(self, answer: Answer, entities: Mapping[str, list[Any]]) -> dict[str, Any]:
        """What the predictor gets, by name and in its order."""
        table = answer.to_arrow()
        columns = dict(zip(table.column_names, table.columns, strict=True))
        for name, value in self._filled.items():
            columns[name] = columns[name].fill_null(value)
        taken: dict[str, Any] = {}
        for name in columns if self._columns is None else self._columns:
            if name not in columns and name not in entities:
                raise InvalidInput(f"the model needs {name!r}, which is neither a feature nor in the request")
            taken[name] = columns[name] if name in columns else entities[name]
        return taken

    def _answers(self) -> bool:
        assert self._reader is not None
        try:
            self._reader.check()
        except FeatureStoreError:
            return False
        return True


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise InvalidInput(f"the body is not JSON: {error}") from error


def _list(values: Any) -> list[Any]:
    items: list[Any] = values.to_pylist() if isinstance(values, pa.ChunkedArray) else values
    return items


def _plain(value: Any) -> Any:
    """As JSON has it: times in ISO 8601, decimals as texts."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        raise InvalidInput("a feature of bytes cannot be sent as JSON")
    return str(value) if isinstance(value, Decimal) else value
