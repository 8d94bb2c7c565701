"""``apply`` and ``plan`` try what they are given on files that are there, and say what would become of them.

A step that does not fit the files is an error of the spec. What may be the fault of a file is told and accepted.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rich.text import Text

from featurestore.arrivals.dry_run_result import BrokenRule, DryRunResult, TriedFile, TriedView
from featurestore.arrivals.source_columns import learned_columns
from featurestore.arrivals.source_kinds import open_source
from featurestore.errors import CodeError, FeatureStoreError, NotFound, SpecError
from featurestore.humanize import count
from featurestore.printable import printable
from featurestore.protocol import DryRunRequest
from featurestore.registry.changeset import STEPS, Before, ChangeAction, Changeset
from featurestore.registry.project import Project
from featurestore.registry.registry import document
from featurestore.resources import DataPipeline, FeatureView
from featurestore.resources.document import Loaded
from featurestore.resources.reference import KnownResources
from featurestore.runner.guard import Limits, laptop_memory
from featurestore.runner.worker import Worker, check_engine
from featurestore.storage.credentials import source_environ

_EACH_S, _ALL_S = 30.0, 60.0
"""A source that does not answer, or code that does not end, keeps nobody longer from applying."""
_SHOWN = 400
_FORCE = "`--no-try` takes it as it is"


@dataclass(frozen=True)
class TriedPipeline:
    """What came of trying one pipeline: a result, why there is none, or what was learned of its files before.

    ``quiet``: that there is none is not a trouble.
    """

    result: DryRunResult | None = None
    failure: FeatureStoreError | None = None
    quiet: str = ""
    learned: Mapping[str, str] | None = None

    @property
    def source(self) -> Mapping[str, str] | None:
        """Columns that files were seen to have; None if none was."""
        if self.result is not None and self.result.source:
            return self.result.source
        return self.learned

    @property
    def takes_nothing(self) -> bool:
        """Whether there are files, and no row of those that were tried would be taken."""
        tried = self.result.tried if self.result else ()
        return bool(tried) and not any(one.taken for one in tried)

    def to_dict(self, pipeline: str) -> dict[str, Any]:
        """As JSON, for ``-o json``."""
        if self.result is not None:
            return self.result.model_dump(mode="json", by_alias=True, exclude={"kind", "source", "dataset"})
        why = {"failure": str(self.failure)} if self.failure else {"empty": self.quiet}
        return {"pipeline": pipeline, **why}


def try_out(project: Project, planned: Changeset, before: Before) -> dict[str, TriedPipeline]:
    """Each pipeline whose rows would change, and each of whose dataset a view would be built anew, tried on its files.

    Raises:
        SpecError: a source has no meaning.
    """
    given = {
        c.resource.metadata.name: c.resource for c in planned.changes if isinstance(c.resource, DataPipeline)
    }
    pipelines = {**before.all(DataPipeline), **given}
    views = {
        **before.all(FeatureView),
        **{
            c.resource.metadata.name: c.resource
            for c in planned.changes
            if isinstance(c.resource, FeatureView)
        },
    }
    trials: dict[str, TriedPipeline] = {}
    worker = Worker(project.folder)
    until_s = time.monotonic() + _ALL_S
    try:
        for name in _changed(planned):
            if name in pipelines:
                of_it = [view for view in views.values() if view.spec.source.pipeline == name]
                trials[name] = _try(project, pipelines[name], of_it, worker, until_s)
    finally:
        worker.kill()
        worker.close()
    return trials


def _changed(planned: Changeset) -> list[str]:
    """Pipelines whose rows would change, or of whose datasets views would be built."""
    names: dict[str, None] = {}
    for change in planned.changes:
        match change.resource:
            case DataPipeline():
                fields = {
                    difference.path[1] for difference in change.differences if difference.path[0] == "spec"
                }
                new = change.action is ChangeAction.CREATE
                if new or (change.action is ChangeAction.UPDATE and fields & set(STEPS)):
                    names[change.resource.metadata.name] = None
            case FeatureView() if change.rebuild:
                names[change.resource.spec.source.pipeline] = None
    return list(names)


def _try(
    project: Project, pipeline: DataPipeline, views: list[FeatureView], worker: Worker, until_s: float
) -> TriedPipeline:
    spec, name = pipeline.spec, pipeline.metadata.name
    learned = None
    try:
        learned = learned_columns(project.storage, name, spec.columns)
        source = open_source(spec.source, str(project.folder), source_environ())
        if "://" not in spec.source.place and next(iter(source.arrivals()), None) is None:
            return TriedPipeline(quiet=f"No file to try it on yet: {source.explain_empty()}", learned=learned)
        try:
            check_engine()
        except CodeError as missing:
            return TriedPipeline(quiet=f"Not tried: {missing.problem}", learned=learned)
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            return TriedPipeline(
                quiet="Not tried: others took all the time that there is for it", learned=learned
            )
        request = DryRunRequest(
            root=project.storage.root,
            base=str(project.folder),
            pipeline=document(pipeline),
            views=tuple(document(view) for view in views),
        )
        result = worker.dry_run(request, Limits(laptop_memory(spec.resources, 0), min(_EACH_S, left_s)))
    except SpecError:
        raise
    except NotFound as absent:
        return TriedPipeline(quiet=f"Not tried: {absent.problem}", learned=learned)
    except FeatureStoreError as failure:
        return TriedPipeline(failure=failure, learned=learned)
    if not result.tried:
        return TriedPipeline(quiet=f"No file to try it on yet: {result.empty}", learned=learned)
    return TriedPipeline(result=result)


def with_trials(known: KnownResources, trials: Mapping[str, TriedPipeline]) -> KnownResources:
    """What there is, with what the trials showed of files and datasets."""
    sources = {name: one.source for name, one in trials.items() if one.source is not None}
    made = {name: one.result.dataset for name, one in trials.items() if one.result and one.result.dataset}
    schemas = {name: {**made[name], **known.schemas.get(name, {})} for name in made}
    return replace(known, sources=sources, schemas={**known.schemas, **schemas}, tried=tuple(made))


def problems_of(
    loaded: Loaded, trials: Mapping[str, TriedPipeline], problems: list[SpecError]
) -> Iterator[SpecError]:
    """What is wrong with the specs as files show it; ``problems``: what checking them against columns and types finds."""
    for problem in problems:
        end = "" if problem.hint.endswith((".", "?")) else "."
        hint = f"{problem.hint}{end} {_FORCE}" if problem.hint else _FORCE
        yield SpecError(
            problem.problem, where=problem.where, wanted=problem.wanted, got=problem.got, hint=hint
        )
    if problems:
        return
    for one in loaded.declared:
        trial = trials.get(one.resource.metadata.name)
        if not isinstance(one.resource, DataPipeline) or trial is None or trial.result is None:
            continue
        tried = trial.result.tried
        if trial.takes_nothing and all(outcome.of_the_spec for outcome in tried):
            refused = tried[0].refused
            assert refused is not None
            step = re.search(r"transforms\[(\d+)\]", refused.rule)
            path = ("transforms", int(step[1])) if step else ()
            yield SpecError(
                "the spec does not fit the files that it was tried on",
                where=one.where("spec", *path),
                got=f"{tried[0].uri}: {refused.reason}",
                hint=_FORCE,
            )


def pipeline_lines(trial: TriedPipeline) -> Iterator[Text]:
    """What came of trying a pipeline, as people read it: ``!`` is what would take nothing."""
    if trial.quiet:
        yield _quiet(trial.quiet)
    elif trial.failure is not None:
        yield _warning(f"It could not be tried: {trial.failure}")
    elif trial.result is not None:
        for tried in trial.result.tried:
            yield _file(tried)
            if tried.unused_path_columns:
                names = ", ".join(f"{name}=" for name in tried.unused_path_columns)
                yield _quiet(
                    f"Its path has {names} which is not taken: spec.source.partitions makes columns of it"
                )


def view_line(view: str, trial: TriedPipeline) -> Text | None:
    """What a view would make of the rows that were taken; None if there were none."""
    tried = next(
        (
            tried_view
            for tried_view in (trial.result.views if trial.result else ())
            if tried_view.view == view
        ),
        None,
    )
    return None if tried is None else _view(tried)


def other_views(trial: TriedPipeline, shown: set[str]) -> Iterator[Text]:
    """Accepted views that the files do not name, and that would take nothing any more."""
    for tried in trial.result.views if trial.result else ():
        if tried.view not in shown and not tried.given:
            yield _warning(f"View {tried.view!r}: {_view(tried).plain.strip(' !')}")


def _file(tried: TriedFile) -> Text:
    if tried.refused is not None:
        summary = f"{tried.refused.rule}: {tried.refused.reason}"
        return _warning(f"{tried.uri} would go to quarantine as a file: {summary}")
    if not tried.rows:
        return _quiet(f"Tried on {tried.uri}, which has no row")
    rows = f"{tried.rows:,} rows" if tried.whole else f"the first {tried.rows:,} rows"
    if not tried.taken:
        why = _rules(tried.broken) or "the steps leave all of them out"
        return _warning(f"None of {rows} of {tried.uri} would be taken: {why}")
    summary = f"Tried on {tried.uri}: {tried.taken:,} of {rows} would be taken"
    return _quiet(f"{summary}; {_rules(tried.broken)}" if tried.broken else summary)


def _view(tried: TriedView) -> Text:
    if tried.refused:
        return _warning(f"It cannot be built of these rows: {tried.refused}")
    if tried.rows and not tried.given:
        why = _rules(tried.broken) or "the filter leaves all of them out"
        return _warning(f"None of these {count(tried.rows, 'row')} would give features: {why}")
    summary = f"{tried.given:,} of these {count(tried.rows, 'row')} would give features"
    return _quiet(f"{summary}; {_rules(tried.broken)}" if tried.broken else summary)


def _rules(broken: tuple[BrokenRule, ...]) -> str:
    return "; ".join(
        f"{broken_rule.rows:,} break {broken_rule.rule} ({broken_rule.reason})" for broken_rule in broken
    )


def _warning(text: str) -> Text:
    return Text(printable(f"  ! {_sentence(text)}"), style="yellow")


def _quiet(text: str) -> Text:
    return Text(printable(f"    {_sentence(text)}"), style="dim")


def _sentence(text: str) -> str:
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return shown if shown.endswith((".", "?", "…")) else f"{shown}."
