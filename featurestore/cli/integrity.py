"""What stands in storage and online, looked at for damage: each look gives whether it is sound, what it saw, and what to do."""

from __future__ import annotations

from featurestore.arrivals.checkpoint import Checkpoint
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.source_columns import learned_columns
from featurestore.humanize import count
from featurestore.registry.project import Project
from featurestore.registry.registry import Registry
from featurestore.resources import DataPipeline
from featurestore.storage import paths
from featurestore.storage.delta import Table
from featurestore.views.builds import BuildResult, definition

Look = tuple[bool | None, str, str]
_MANIFESTS = 100
"""Of the newest batches; older ones are in the checkpoint."""
_FOOTERS = 20


def ledger(project: Project, name: str) -> Look:
    """All that the ledger holds can be read: manifests, the specs that they name, checkpoint, result, trials, schema."""
    opened = Ledger(project.storage, name)
    head, done = opened.last_batch(), opened.committed_batch()
    registry = Registry(project.storage)
    for number in range(max(1, min(done, head - _MANIFESTS)), head + 1):
        manifest = opened.manifest(number)
        if number > done:
            registry.get(DataPipeline, name, manifest.spec_digest)
            opened.isolation(number)
    opened.last_result()
    _checkpoint(project, name)
    learned_columns(project.storage, name, None)
    return True, f"{_batches(done)} committed, {head - done} to be run", ""


def _batches(number: int) -> str:
    return "1 batch" if number == 1 else f"{number:,} batches"


def _checkpoint(project: Project, name: str) -> None:
    folder = f"{paths.ledger(name)}/checkpoints"
    for file in project.storage.names(folder)[-1:]:
        path = f"{folder}/{file}"
        for _ in Checkpoint(project.storage.read(path), project.storage.uri(path)).lines():
            pass


def table(project: Project, path: str, again: str, noun: str = "row") -> Look:
    """All data files of a Delta table are there, and the newest can be read. ``again``: what to do about one that is not."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    storage = project.storage
    opened = Table.open(storage, path)
    if opened is None:
        return True, "nothing is in it", ""
    files = opened.files()
    stored = set(storage.names(path))
    gone = sorted(file.path for file in files if "/" not in file.path and file.path not in stored)
    if gone:
        more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
        return False, f"data files are missing: {storage.uri(f'{path}/{gone[0]}')}{more}", again
    for file in files[-_FOOTERS:]:
        try:
            with storage.opened(f"{path}/{file.path}") as parquet:
                rows = pq.ParquetFile(parquet).metadata.num_rows
        except (pa.ArrowException, OSError, ValueError) as error:
            return False, f"{storage.uri(f'{path}/{file.path}')} cannot be read: {error}", again
        if rows != file.rows:
            uri = storage.uri(f"{path}/{file.path}")
            return False, f"{uri} has {rows:,} rows, and its commit says {file.rows:,}", again
    return True, f"{count(sum(file.rows for file in files), noun)} in {count(len(files), 'file')}", ""


def restore(path: str) -> str:
    """What to do about a data file that nothing can make again."""
    return f"Restore {path} from a backup, or from the versions that the bucket keeps"


def held(project: Project, view: str, build: BuildResult) -> Look:
    """The online store has all that it says of the build: its generation, or the keys of its entities."""
    store = (project.registry.store() or project.store).spec
    spec = definition(project.storage, view, build.digest).resource.spec
    from featurestore.online.backends import open_online
    from featurestore.online.layout import Form

    inspection = open_online(project.storage, store).inspect(view, build.digest, Form.of(spec))
    return inspection.sound, inspection.message, inspection.hint
