"""The data engine: what each request comes to. What a request does not need is not loaded."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, overload

from featurestore.arrivals.dry_run_result import DryRunResult
from featurestore.protocol import AnyRequest, EngineResult, ErasureResult, Progress, Request
from featurestore.storage.objects import Storage
from featurestore_transforms.lineage.emitter import telling


@overload
def run(storage: Storage, request: Request, progress: Callable[[Progress], None]) -> EngineResult: ...


@overload
def run(
    storage: Storage, request: AnyRequest, progress: Callable[[Progress], None]
) -> EngineResult | DryRunResult | ErasureResult: ...


def run(storage: Storage, request: AnyRequest, progress: Callable[[Progress], None]) -> Any:
    """What the request asks for, by the function that it names.

    Raises:
        FeatureStoreError: it could not be done.
    """
    module, _, function = request.run_by.partition(":")
    with telling(storage, request) as outcome:
        outcome.result = getattr(import_module(module), function)(storage, request, progress)
    return outcome.result
