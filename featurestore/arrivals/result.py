"""What a batch became, or a part of it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from featurestore.humanize import count
from featurestore.resources.model import Model


class BatchCounts(Model):
    """What a run of batch ``number`` counted.

    ``rows_erased``: of keys that were erased before. ``broken``: rule to number of rows. ``files_refused``: rule to
    number of files. ``caught``: index of a file to how many of its rows are in quarantine, 0 if it is there as a whole.
    ``took_us``: how long the run took that committed it; 0 if its parts were read one by one.
    """

    number: int
    files: int
    rows_read: int
    rows_quarantined: int
    rows_dropped: int
    rows_erased: int = 0
    broken: dict[str, int] = Field(default_factory=dict)
    files_refused: dict[str, int] = Field(default_factory=dict)
    caught: dict[int, int] = Field(default_factory=dict)
    bytes_read: int = 0
    took_us: int = 0


class BatchResult(BatchCounts):
    """What a batch became. Also stored at ``paths.result``.

    ``rows_read = rows_committed + rows_quarantined + rows_dropped + rows_erased + rows_filtered``, where the last are
    rows that the transforms left out (negative if they made rows).
    ``files_quarantined``: as many as ``files_refused`` counts.
    ``open_files``, ``open_rows``: what this batch and all before it put there and no batch ran again.
    ``watermarks_us``: timestamp column to its greatest value in the batch, UTC microseconds.
    ``peak_bytes``: greatest resident size of the process that ran it, while it did where that can be told.
    ``dataset_rows``, ``dataset_bytes``, ``dataset_columns`` (name to type): of the dataset after it.
    """

    kind: Literal["batch"] = "batch"
    pipeline: str
    dataset_version: int
    files_quarantined: int
    rows_committed: int
    open_files: int = 0
    open_rows: int = 0
    watermarks_us: dict[str, int] = Field(default_factory=dict)
    peak_bytes: int = 0
    dataset_rows: int = 0
    dataset_bytes: int = 0
    dataset_columns: dict[str, str] = Field(default_factory=dict)
    finished_us: int

    @property
    def took_nothing(self) -> bool:
        """Whether something was refused, and no row was taken."""
        return bool(self.caught) and self.rows_committed == 0

    @property
    def what(self) -> str:
        """One word for machines."""
        if self.took_nothing:
            return "BatchRefused"
        return "BatchPartlyRefused" if self.caught else "BatchCommitted"

    @property
    def message(self) -> str:
        """What it came to, in a sentence."""
        message = f"batch {self.number} is commit {self.dataset_version}: {count(self.rows_committed, 'row')}"
        if self.rows_quarantined:
            message += f", {count(self.rows_quarantined, 'row')} in quarantine"
        if self.files_quarantined:
            message += f", {count(self.files_quarantined, 'file')} in quarantine"
        if self.broken:
            worst = sorted(self.broken.items(), key=lambda item: (-item[1], item[0]))[:3]
            message += " (" + ", ".join(f"{rule} {number:,} ×" for rule, number in worst) + ")"
        if self.files_refused:
            message += (
                " (" + ", ".join(f"{rule} {n:,} ×" for rule, n in sorted(self.files_refused.items())) + ")"
            )
        if self.caught:
            message += f". See `featurestore quarantine ls {self.pipeline}`"
        return message


class PartResult(Model):
    """Entries ``first`` … ``stop - 1`` of a batch that was halved are read; what they came to is kept for its commit."""

    kind: Literal["part"] = "part"
    pipeline: str
    number: int
    first: int
    stop: int
    rows_read: int
    finished_us: int

    @property
    def what(self) -> str:
        """One word for machines."""
        return "PartRead"

    @property
    def message(self) -> str:
        """What it came to, in a sentence."""
        files = count(self.stop - self.first, "file")
        return f"batch {self.number}, halved: {files} read, {count(self.rows_read, 'row')}"


class PieceResult(Model):
    """Batches ``first`` … ``last`` were run for a rebuild, and what they came to is kept for its promotion.

    ``last`` is less than ``first`` if only a part of a batch was read that is being halved.
    """

    kind: Literal["piece"] = "piece"
    pipeline: str
    rebuild: int
    first: int
    last: int
    rows_read: int
    rows: int
    rows_quarantined: int
    files_quarantined: int
    finished_us: int

    @property
    def what(self) -> str:
        """One word for machines."""
        return "PieceRun"

    @property
    def message(self) -> str:
        """What it came to, in a sentence."""
        if self.last < self.first:
            return f"rebuild {self.rebuild}: batch {self.first}, halved: {count(self.rows_read, 'row')} read"
        batches = f"batch {self.first}"
        if self.last > self.first:
            batches = f"batches {self.first} to {self.last}"
        message = f"rebuild {self.rebuild}: {batches} again, {count(self.rows, 'row')}"
        if self.rows_quarantined:
            message += f", {count(self.rows_quarantined, 'row')} in quarantine"
        if self.files_quarantined:
            message += f", {count(self.files_quarantined, 'file')} in quarantine"
        return message


class RebuildResult(Model):
    """A rebuild was promoted: history up to batch ``last`` is what it came to."""

    kind: Literal["rebuilt"] = "rebuilt"
    pipeline: str
    rebuild: int
    last: int
    dataset_version: int
    rows: int
    open_files: int
    open_rows: int
    finished_us: int

    @property
    def what(self) -> str:
        """One word for machines."""
        return "RebuiltPartlyRefused" if self.open_files or self.open_rows else "Rebuilt"

    @property
    def message(self) -> str:
        """What it came to, in a sentence."""
        message = (
            f"rebuild {self.rebuild} is promoted, as commit {self.dataset_version}: history up to batch {self.last} "
            f"is what it came to, {count(self.rows, 'row')}. Views are built anew"
        )
        if self.open_files or self.open_rows:
            parts = [count(n, noun) for n, noun in ((self.open_files, "file"), (self.open_rows, "row")) if n]
            message += (
                f". In quarantine: {' and '.join(parts)}, see `featurestore quarantine ls {self.pipeline}`"
            )
        return message


def is_drift(rule: str) -> bool:
    """Whether a file or row that broke the rule looked unlike the files before it.

    >>> is_drift("schema:missingColumn"), is_drift("batch:schema:newColumn"), is_drift("plausible")
    (True, True, False)
    """
    return rule.removeprefix("batch:").startswith("schema:")
