"""What a batch became, or a part of it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from featurestore.resources.model import Model


class BatchResult(Model):
    """What batch ``number`` became. Also stored at ``layout.result``.

    ``rows_read = rows_committed + rows_quarantined + rows_dropped + rows_filtered``, where the last are rows
    that the transforms left out (negative if they made rows). ``broken``: rule to number of rows.
    ``files_refused``: rule to number of files, as many as ``files_quarantined``.
    ``caught``: index of a file to how many of its rows are in quarantine, 0 if it is there as a whole.
    ``open_files``, ``open_rows``: what this batch and all before it put there and no batch ran again.
    ``watermarks_us``: timestamp column to its greatest value in the batch, UTC microseconds.
    ``took_us``: how long the run took that committed it; 0 if its parts were read one by one.
    ``peak_bytes``: greatest resident size of the process that ran it, while it did where that can be told.
    ``dataset_rows``, ``dataset_bytes``, ``dataset_columns`` (name to type): of the dataset after it.
    """

    kind: Literal["batch"] = "batch"
    pipeline: str
    number: int
    dataset_version: int
    files: int
    files_quarantined: int
    rows_read: int
    rows_committed: int
    rows_quarantined: int
    rows_dropped: int
    broken: dict[str, int] = Field(default_factory=dict)
    files_refused: dict[str, int] = Field(default_factory=dict)
    caught: dict[int, int] = Field(default_factory=dict)
    open_files: int = 0
    open_rows: int = 0
    watermarks_us: dict[str, int] = Field(default_factory=dict)
    bytes_read: int = 0
    took_us: int = 0
    peak_bytes: int = 0
    dataset_rows: int = 0
    dataset_bytes: int = 0
    dataset_columns: dict[str, str] = Field(default_factory=dict)
    finished_us: int

    @property
    def took_nothing(self) -> bool:
        """Whether something was refused, and no row was taken."""
        return bool(self.caught) and self.rows_committed == 0


class PartResult(Model):
    """Entries ``first`` … ``stop - 1`` of a batch that was halved are read; what they came to is kept for its commit."""

    kind: Literal["part"] = "part"
    pipeline: str
    number: int
    first: int
    stop: int
    rows_read: int
    finished_us: int


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


def is_drift(rule: str) -> bool:
    """Whether a file or row that broke the rule looked unlike the files before it.

    >>> is_drift("schema:missingColumn"), is_drift("batch:schema:newColumn"), is_drift("plausible")
    (True, True, False)
    """
    return rule.removeprefix("batch:").startswith("schema:")
