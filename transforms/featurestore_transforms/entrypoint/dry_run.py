"""A spec tried on files that are there: what would be taken of them, what refused, and why. Nothing is written."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import polars as pl

from featurestore.arrivals.dry_run_result import BrokenRule, DryRunResult, TriedFile, TriedView
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.source_kinds import open_source
from featurestore.errors import NotFound, SpecError
from featurestore.protocol import DryRunRequest, Progress
from featurestore.resources import DataPipeline, FeatureView
from featurestore.storage import paths
from featurestore.storage.credentials import source_environ
from featurestore.storage.delta import ROW, Table
from featurestore.storage.objects import Storage
from featurestore_transforms.batch.commit import open_dataset, user_types
from featurestore_transforms.batch.file_trial import MOST_RULES, FileTrial
from featurestore_transforms.batch.group import BatchPlan
from featurestore_transforms.sources.reader import unused_path_columns
from featurestore_transforms.sources.source_schema import read_schema
from featurestore_transforms.tables.row_changes import scan
from featurestore_transforms.views.computed_features import REASON, RULE, broken_rows, feature_rows

_LISTED = 1000
_FILES = 3
"""That are tried where no row of the newest is taken: it alone may be bad, or not be whole yet."""
_ANY_BATCH = 2**53


def dry_run(storage: Storage, request: DryRunRequest, progress: Callable[[Progress], None]) -> DryRunResult:
    """What the pipeline would make of the newest of its files, and the views of what it would make of it.

    Raises:
        NotFound: a dataset that is to be looked up is not there yet.
        CodeError: a callable cannot be imported.
        StorageError: the source or storage did not answer.
    """
    pipeline = DataPipeline.model_validate(request.pipeline)
    spec, name = pipeline.spec, pipeline.metadata.name
    source = open_source(spec.source, request.base, source_environ())
    progress(Progress(step=f"list the files of {name}", done=0, unit="files"))
    arrivals = list(islice(source.arrivals(), _LISTED + 1))
    if not arrivals:
        return DryRunResult(pipeline=name, empty=source.explain_empty())
    newest = sorted(arrivals, key=lambda arrival: (arrival.modified_us, arrival.uri), reverse=True)[:_FILES]
    lookups = {looked_up: _dataset(storage, looked_up) for looked_up in spec.looked_up}
    plan = BatchPlan(storage, paths.dataset(name), 0, spec, lookups)
    generation = Ledger(storage, name).rebuilds.generation()
    findings = _Findings()
    with tempfile.TemporaryDirectory(prefix="featurestore-", ignore_cleanup_errors=True) as scratch:
        for arrival in newest:
            progress(Progress(step=f"try {name} on {arrival.uri}", done=len(findings.tried), unit="files"))
            trial = FileTrial(
                arrival,
                plan,
                request.base,
                read_schema(storage, name, _ANY_BATCH, generation),
                user_types(open_dataset(storage, name)),
                Path(scratch),
            )
            tried = trial.run()
            left = tuple(
                name for name in unused_path_columns(arrival, spec.source) if name not in (trial.source or {})
            )
            findings.add(tried.model_copy(update={"unused_path_columns": left}), trial)
            if findings.rows is not None:
                break
    views = [FeatureView.model_validate(view) for view in request.views]
    return DryRunResult(
        pipeline=name,
        files=min(len(arrivals), _LISTED),
        more=len(arrivals) > _LISTED,
        tried=tuple(findings.tried),
        views=tuple(_view(view, findings.rows) for view in views if findings.rows is not None),
        source=findings.source,
        dataset=findings.dataset,
    )


@dataclass
class _Findings:
    tried: list[TriedFile] = field(default_factory=list)
    source: dict[str, str] = field(default_factory=dict)
    dataset: dict[str, str] | None = None
    rows: pl.DataFrame | None = None

    def add(self, tried: TriedFile, trial: FileTrial) -> None:
        """Remember what one file came to."""
        self.tried.append(tried)
        self.source = _either(self.source, trial.source or {})
        if trial.dataset is not None:
            self.dataset = _either(self.dataset or {}, trial.dataset)
        if tried.taken:
            self.rows = trial.rows


def _either(one: dict[str, str], other: dict[str, str]) -> dict[str, str]:
    """The columns of two files. A type that is not the same in both is not known."""
    same = {name: one[name] if one[name] == kind else "" for name, kind in other.items() if name in one}
    return {**one, **other, **same}


def _dataset(storage: Storage, pipeline: str) -> pl.LazyFrame:
    table = Table.open(storage, paths.dataset(pipeline))
    if table is None:
        raise NotFound(f"the dataset of {pipeline!r} is not there yet", where=storage.root)
    return scan(table, table.files())


def _view(view: FeatureView, rows: pl.DataFrame) -> TriedView:
    name, spec = view.metadata.name, view.spec
    try:
        made = feature_rows(rows.lazy(), spec).select(RULE).collect(engine="streaming")
        bad = broken_rows(rows.lazy(), spec).select(ROW, RULE, REASON).collect(engine="streaming")
    except SpecError as problem:
        return TriedView(view=name, rows=rows.height, refused=str(problem))
    except pl.exceptions.PolarsError as error:
        return TriedView(
            view=name, rows=rows.height, refused=(str(error) or type(error).__name__).splitlines()[0]
        )
    why = (
        bad.sort(ROW)
        .group_by(RULE)
        .agg(pl.len().alias("rows"), pl.col(REASON).first())
        .sort("rows", RULE, descending=[True, False])
    )
    return TriedView(
        view=name,
        rows=made.height,
        given=made.filter(pl.col(RULE).is_null()).height,
        broken=tuple(
            BrokenRule(rule=rule, rows=count, reason=reason or "")
            for rule, count, reason in why.head(MOST_RULES).iter_rows()
        ),
    )
