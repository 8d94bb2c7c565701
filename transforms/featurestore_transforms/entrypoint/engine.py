"""The data engine: what each request comes to. What a request does not need is not loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import overload

from featurestore.arrivals.dry_run_result import DryRunResult
from featurestore.protocol import (
    AnyRequest,
    BatchRequest,
    BuildRequest,
    DryRunRequest,
    EngineResult,
    EraseKeysRequest,
    ErasureRequest,
    ErasureResult,
    Progress,
    PromoteRebuildRequest,
    PublishRequest,
    RebuildRequest,
    Request,
    TrainingSetRequest,
)
from featurestore.storage.objects import Storage
from featurestore.timestamps import current_us


@overload
def run(storage: Storage, request: Request, progress: Callable[[Progress], None]) -> EngineResult: ...


@overload
def run(
    storage: Storage, request: AnyRequest, progress: Callable[[Progress], None]
) -> EngineResult | DryRunResult | ErasureResult: ...


def run(
    storage: Storage, request: AnyRequest, progress: Callable[[Progress], None]
) -> EngineResult | DryRunResult | ErasureResult:
    """What the request asks for.

    Raises:
        FeatureStoreError: it could not be done.
    """
    match request:
        case BatchRequest():
            from featurestore_transforms.batch.batch import run_batch

            return run_batch(storage, request, progress)
        case RebuildRequest():
            from featurestore_transforms.batch.rebuilding import run_piece

            return run_piece(storage, request, progress)
        case PromoteRebuildRequest():
            from featurestore_transforms.batch.promotion import promote_rebuild

            return promote_rebuild(storage, request)
        case BuildRequest():
            from featurestore_transforms.views.build import run_build

            return run_build(storage, request, progress)
        case PublishRequest():
            from featurestore.online.publish import run_publish

            return run_publish(storage, request, current_us())
        case TrainingSetRequest():
            from featurestore_transforms.training.make_version import run_training_set

            return run_training_set(storage, request, progress)
        case EraseKeysRequest():
            from featurestore_transforms.erasure.requested import erase_keys

            return erase_keys(storage, request, progress)
        case ErasureRequest():
            from featurestore_transforms.erasure.erase import run_erasure

            return run_erasure(storage, request, progress)
        case DryRunRequest():
            from featurestore_transforms.entrypoint.dry_run import dry_run

            return dry_run(storage, request, progress)
