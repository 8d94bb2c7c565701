"""The two commits of a batch, and the result that is read back from them.

Quarantine first, then the dataset, both with the application transaction ``(ledger uid, batch)``: a batch that is
in the dataset is wholly done, and one that is only in the quarantine is finished without being quarantined again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import polars as pl
import pyarrow as pa

from featurestore.arrivals.erasure import ERASURE, Erasures
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.manifest import Manifest
from featurestore.arrivals.rebuild import rebuild_application
from featurestore.arrivals.result import BatchResult
from featurestore.errors import Conflict, StorageError, TransientError
from featurestore.expressions.run.cast import UTC
from featurestore.failpoint import hit
from featurestore.quarantine.tally import open_after
from featurestore.resources.data_pipeline import DataPipelineSpec
from featurestore.storage import paths
from featurestore.storage.delta import BATCH, SYSTEM_COLUMNS, DataFile, Table
from featurestore.storage.objects import Storage
from featurestore.timestamps import current_us
from featurestore.views.schema import QUARANTINE, SYSTEM_FIELDS
from featurestore_transforms.batch.peak import peak_bytes
from featurestore_transforms.batch.quarantined import Earlier, application, read_earlier
from featurestore_transforms.casting.delta_types import type_name
from featurestore_transforms.sources.source_schema import SourceSchema, write_schema
from featurestore_transforms.tables.data_files import statistic_us
from featurestore_transforms.tables.rewrite import Rewrite, losers, without
from featurestore_transforms.tables.row_changes import NO_ROWS, scan

_ATTEMPTS = 10


def open_dataset(storage: Storage, pipeline: str) -> Table | None:
    """The newest version of the dataset; None before the first batch."""
    return Table.open(storage, paths.dataset(pipeline))


def is_done(dataset: Table | None, manifest: Manifest) -> bool:
    """Whether the batch is in the dataset.

    Raises:
        TransientError: an earlier batch is not: a later one would hide that it is missing.
    """
    done = dataset.committed(manifest.uid) if dataset is not None else 0
    if done < manifest.number - 1:
        raise TransientError(
            "an earlier batch comes first",
            where=f"batch {manifest.number} of {manifest.pipeline!r}",
            wanted=f"batch {manifest.number - 1} in the dataset",
            got=f"batch {done}",
        )
    return done >= manifest.number


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """What the files of a batch came to. Its data files are written, and no commit names them yet.

    ``schema``: of source files, if the batch changed it. ``refused``: files that are quarantined as files, and the
    rule that each broke.
    ``caught``: index of a file to how many of its rows are quarantined.
    ``earlier``: what runs of this batch that were killed had put into the quarantine, which ``quarantine`` adds to.
    ``late``: files of which that was not known when their rows were written: the rows are left out.
    ``erasure``: number of the last erasure whose keys are left out.
    """

    earlier: Earlier
    files: tuple[DataFile, ...]
    types: Mapping[str, pl.DataType]
    schema: SourceSchema | None
    quarantine: tuple[DataFile, ...]
    refused: Mapping[int, str]
    late: frozenset[int]
    rows_read: int
    broken: Mapping[str, int]
    caught: Mapping[int, int]
    rows_quarantined: int
    rows_dropped: int
    rows_erased: int
    bytes_read: int
    erasure: int


def require_generation(dataset: Table | None, manifest: Manifest, generation: int) -> None:
    """Raises Conflict if the dataset's history is another one than what was read for the batch."""
    now = dataset.committed(rebuild_application(manifest.uid)) if dataset is not None else 0
    if now != generation:
        raise Conflict(
            "a rebuild is being promoted",
            where=f"batch {manifest.number} of {manifest.pipeline!r}",
            wanted=f"the history of rebuild {generation}",
            got=str(now),
        )


def commit(
    storage: Storage,
    manifest: Manifest,
    spec: DataPipelineSpec,
    outcome: BatchOutcome,
    generation: int,
    took_us: int,
) -> BatchResult:
    """The result of the batch, after its two commits; of another run that was first, that one's result.

    ``generation``: of the dataset that the outcome was worked out for.

    Raises:
        NotFound: the pipeline was deleted with its data meanwhile.
        Conflict: other writers were always first, another run of this batch came to something else, history was
            replaced, or keys were erased meanwhile.
    """
    ledger = Ledger(storage, manifest.pipeline)
    ledger.require_current(manifest.uid)
    require_generation(open_dataset(storage, manifest.pipeline), manifest, generation)
    _commit_quarantine(storage, manifest, outcome, generation)
    hit("after-quarantine-commit")
    if outcome.schema is not None:
        write_schema(storage, manifest.pipeline, manifest.number, generation, outcome.schema)
    for attempt in range(1, _ATTEMPTS + 1):
        dataset = open_dataset(storage, manifest.pipeline)
        if is_done(dataset, manifest):
            break
        ledger.require_current(manifest.uid)
        require_generation(dataset, manifest, generation)
        try:
            dataset = with_columns(storage, dataset, manifest.pipeline, outcome.types)
            # Only now: whoever erases looks at the table after writing down what is erased.
            Erasures(storage).require_last(outcome.erasure, dataset.path)
            _commit_dataset(dataset, manifest, spec, outcome, took_us)
        except Conflict:
            if attempt == _ATTEMPTS or Erasures(storage).last() != outcome.erasure:
                raise
    hit("after-dataset-commit")
    return finished(storage, manifest)


def finished(storage: Storage, manifest: Manifest) -> BatchResult:
    """The result of a committed batch, from its commit; its record is written if it is not there."""
    record = paths.result(manifest.pipeline, manifest.number)
    known = storage.find(record)
    if known is not None:
        return BatchResult.model_validate_json(known)
    dataset = open_dataset(storage, manifest.pipeline)
    if dataset is None:
        raise StorageError("the dataset is gone", where=storage.uri(paths.dataset(manifest.pipeline)))
    result = _recorded(dataset, manifest)
    # Not sorted: columns stand as the dataset has them.
    storage.replace(record, result.model_dump_json(by_alias=True).encode())
    hit("after-result")
    return result


def user_types(dataset: Table | None) -> dict[str, pl.DataType]:
    """Types of the dataset's columns that are not ours."""
    if dataset is None:
        return {}
    schema = pl.Schema(dataset.schema)
    return {name: dtype for name, dtype in schema.items() if name not in SYSTEM_COLUMNS}


def _commit_quarantine(storage: Storage, manifest: Manifest, outcome: BatchOutcome, generation: int) -> None:
    """Put what the batch refuses into the quarantine, on top of what its outcome was worked out from.

    Raises:
        Conflict: another run of this batch was first and refused other files: what is to be committed depends on it.
    """
    path = paths.quarantine("pipelines", manifest.pipeline)
    applications = [application(manifest.uid, each) for each in range(generation + 1)]
    for attempt in range(1, _ATTEMPTS + 1):
        table = Table.open(storage, path)
        earlier = read_earlier(table, manifest, generation)
        if earlier.runs != outcome.earlier.runs:
            if earlier.refused.keys() == outcome.refused.keys():
                return
            raise Conflict("another run of this batch was first", where=storage.uri(path))
        overtaken = Rewrite()
        if table is not None and generation and not earlier.runs:
            # A run that a rebuild overtook had committed its quarantine already.
            own = [(manifest.number, file) for file in range(len(manifest.entries))]
            overtaken = without(table, table.files(), NO_ROWS, own)
        if not outcome.quarantine and not overtaken.remove:
            return
        # What an earlier run did not know is an addition of its own: a file was lost after it was killed.
        app_id, number = applications[-1], manifest.number
        if earlier.runs:
            app_id, number = f"{app_id}/{manifest.number}", earlier.runs
        table = table or Table.create(storage, path, QUARANTINE)
        Erasures(storage).require_last(outcome.erasure, path)
        try:
            table.commit(
                app_id=app_id,
                number=number,
                add=[*outcome.quarantine, *overtaken.add],
                remove=overtaken.remove,
                metadata=_metadata(manifest),
                also=[(ERASURE, 0), *((older, manifest.number) for older in applications[:-1])],
            )
            return
        except Conflict:
            if attempt == _ATTEMPTS:
                raise


def with_columns(
    storage: Storage, dataset: Table | None, pipeline: str, types: Mapping[str, pl.DataType]
) -> Table:
    """The dataset with these columns. It is begun with them, before the system columns, if there is none."""
    schema = pl.DataFrame(schema=dict(types)).to_arrow().schema
    if dataset is None:
        schema = pa.schema([*schema, *SYSTEM_FIELDS])
        dataset = Table.create(storage, paths.dataset(pipeline), schema)
    return dataset.add_columns(schema)


def _commit_dataset(
    dataset: Table, manifest: Manifest, spec: DataPipelineSpec, outcome: BatchOutcome, took_us: int
) -> None:
    add, remove = _settled(dataset, manifest, spec, outcome)
    caught = {**outcome.caught, **dict.fromkeys(outcome.refused, 0)}
    open_files, open_rows = open_after(dataset.storage, manifest, caught)
    committed = [file for file in add if file.stats["minValues"].get(BATCH) == manifest.number]
    gone = {file.path for file in remove}
    files = [*(file for file in dataset.files() if file.path not in gone), *add]
    result = BatchResult(
        pipeline=manifest.pipeline,
        number=manifest.number,
        dataset_version=dataset.version + 1,
        files=len(manifest.entries),
        files_quarantined=len(outcome.refused),
        rows_read=outcome.rows_read,
        rows_committed=sum(file.rows for file in committed),
        rows_quarantined=outcome.rows_quarantined,
        rows_dropped=outcome.rows_dropped,
        rows_erased=outcome.rows_erased,
        broken=dict(outcome.broken),
        files_refused=dict(sorted(Counter(outcome.refused.values()).items())),
        caught=caught,
        open_files=open_files,
        open_rows=open_rows,
        watermarks_us=watermarks_us(committed, outcome.types),
        bytes_read=outcome.bytes_read,
        took_us=took_us,
        **holds(dataset, files),
        peak_bytes=peak_bytes(),
        finished_us=current_us(),
    )
    dataset.commit(
        app_id=manifest.uid,
        number=manifest.number,
        add=add,
        remove=remove,
        metadata={**_metadata(manifest), "result": result.model_dump_json(by_alias=True)},
        also=[(ERASURE, 0)],
    )


def _settled(
    dataset: Table, manifest: Manifest, spec: DataPipelineSpec, outcome: BatchOutcome
) -> tuple[list[DataFile], list[DataFile]]:
    """Data files to add and to remove, after Replace and the dataset's own ``deduplicate``."""
    new = list(outcome.files)
    if outcome.late:
        late = [(manifest.number, file) for file in outcome.late]
        new = without(dataset, new, NO_ROWS, late).after(new)
    sources = [pair for entry in manifest.entries for pair in entry.replaces]
    if not sources and spec.deduplicate is None:
        return new, []
    before = dataset.files()
    replaced = without(dataset, before, NO_ROWS, sources)
    if spec.deduplicate is None:
        return [*new, *replaced.add], list(replaced.remove)
    stay = replaced.after(before)
    beaten = losers(dataset, stay, new, spec.deduplicate, spec.resources.memory)
    after = without(dataset, [*stay, *new], beaten).after([*stay, *new])
    known, kept = {file.path for file in before}, {file.path for file in after}
    return [file for file in after if file.path not in known], [
        file for file in before if file.path not in kept
    ]


def _metadata(manifest: Manifest) -> dict[str, str]:
    return {
        "pipeline": manifest.pipeline,
        "batch": str(manifest.number),
        "manifest_digest": manifest.digest,
        "spec_digest": manifest.spec_digest,
        "code_version": version("featurestore"),
    }


def _recorded(dataset: Table, manifest: Manifest) -> BatchResult:
    """The result as its commit says it."""
    digest = manifest.digest
    for entry in dataset.history():
        if entry.get("manifest_digest") == digest and "result" in entry:
            result = BatchResult.model_validate_json(entry["result"])
            return result.model_copy(update={"dataset_version": entry["version"]})
    # Its commit was cleaned up from the log: what the data files say is what is left.
    rows = scan(dataset, dataset.files()).filter(pl.col(BATCH) == manifest.number)
    return BatchResult(
        pipeline=manifest.pipeline,
        number=manifest.number,
        dataset_version=dataset.version,
        files=len(manifest.entries),
        files_quarantined=0,
        rows_read=0,
        rows_committed=rows.select(pl.len()).collect(engine="streaming").item(),
        rows_quarantined=0,
        rows_dropped=0,
        **holds(dataset, dataset.files()),
        finished_us=current_us(),
    )


def holds(dataset: Table, files: Sequence[DataFile]) -> dict[str, Any]:
    """What a result says of the dataset, which consists of these files."""
    return {
        "dataset_rows": sum(file.rows for file in files),
        "dataset_bytes": sum(file.size_bytes for file in files),
        "dataset_columns": {name: type_name(dtype) for name, dtype in user_types(dataset).items()},
    }


def watermarks_us(files: Iterable[DataFile], types: Mapping[str, pl.DataType]) -> dict[str, int]:
    """Timestamp column to its greatest value in these files, from their statistics."""
    greatest: dict[str, int] = {}
    for file in files:
        for name, text in file.stats["maxValues"].items():
            if types.get(name) == UTC:
                value = statistic_us(text)
                greatest[name] = max(value, greatest.get(name, value))
    return greatest
