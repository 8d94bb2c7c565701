"""What a pipeline and views of its dataset would make of a file that is there: nothing is written for it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from featurestore.resources.model import Model


class BrokenRule(Model):
    """``rows``: how many broke the rule; of a whole file, 0. ``reason``: why the first of them did."""

    rule: str
    rows: int = 0
    reason: str = ""


class TriedFile(Model):
    """What would become of one file.

    ``whole``: whether all of it was read, and not only its first rows. ``rows``: how many were read; ``taken`` would
    be in the dataset. ``broken``: what would go to quarantine or be dropped. ``refused``: why the file would go to
    quarantine as a file. ``of_the_spec``: whether that is a step which does not fit the columns that it gets, for certain.
    ``unused_path_columns``: columns whose values stand in its name only, and that no partition of the spec takes.
    """

    uri: str
    whole: bool = True
    rows: int = 0
    taken: int = 0
    broken: tuple[BrokenRule, ...] = ()
    refused: BrokenRule | None = None
    of_the_spec: bool = False
    unused_path_columns: tuple[str, ...] = ()


class TriedView(Model):
    """What a view would make of the rows that were taken. ``refused``: why it could not be built of them at all."""

    view: str
    rows: int
    given: int = 0
    broken: tuple[BrokenRule, ...] = ()
    refused: str = ""


class DryRunResult(Model):
    """``files``: how many there are; ``more``: or more. ``empty``: why there is none. ``tried``: the newest; others
    as well only where no row of it would be taken.

    ``source``: columns that the files were seen to have, to the names of their types; "" where the rows that were
    read do not say it for certain. ``dataset``: the same of what the steps made of them; None if no file came so far.
    """

    kind: Literal["dryRun"] = "dryRun"
    pipeline: str
    files: int = 0
    more: bool = False
    empty: str = ""
    tried: tuple[TriedFile, ...] = ()
    views: tuple[TriedView, ...] = ()
    source: dict[str, str] = Field(default_factory=dict)
    dataset: dict[str, str] | None = None
