"""A Delta table as a source: where it is, where the first batch begins, what a change of rows does, what becomes columns."""

from __future__ import annotations

import re
from enum import StrEnum
from itertools import combinations
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from featurestore.resources.location import NO_CHAIN, NO_CREDENTIALS
from featurestore.resources.metadata import SecretRef
from featurestore.resources.model import Model
from featurestore.resources.quantity import Bytes
from featurestore.resources.rule import SpecRule, repeated
from featurestore.resources.value import ColumnName

SNAPSHOT, EARLIEST, LATEST = "Snapshot", "Earliest", "Latest"
_TABLE = r"^(/|(file|s3|s3a|gs|gcs|az|abfs|abfss)://|[^:/]+(/|$))[^#?*\\\[%]*$"
"""A path, or a URL of a protocol that has tables; without what delta-rs would take for another place."""


def is_folder(table: str) -> SpecRule:
    """That ``uri`` is the folder of such a table."""
    return SpecRule(
        message=f"{table} is a folder: a path, or a URL of s3, gs, az or abfss, without *, [, ?, #, % and \\",
        # Chains and credentials have messages of their own.
        holds=lambda spec: "::" in spec.uri or "@" in spec.uri or re.match(_TABLE, spec.uri) is not None,
        cel=f"self.uri.contains('::') || self.uri.contains('@') || self.uri.matches(r'{_TABLE}')",
        field="uri",
    )


class OnChange(StrEnum):
    """What a commit that deletes or changes rows does."""

    REJECT = "Reject"
    IGNORE = "Ignore"
    FEED = "Feed"


class DeltaColumns(Model):
    """Columns beside those of the table, by the names that they are to have."""

    change: ColumnName | None = Field(
        None,
        description="Column for what became of the row: `insert`, `update_postimage` or, only if this is named, `delete`.",
    )
    version: ColumnName | None = Field(
        None, description="Column for the version of the table that brought the row, as int64."
    )
    timestamp: ColumnName | None = Field(
        None, description="Column for the time of the commit. Null for rows of the first snapshot."
    )

    @property
    def names(self) -> tuple[str, ...]:
        """All columns that are named here."""
        return tuple(name for name in (self.change, self.version, self.timestamp) if name is not None)

    rules: ClassVar[tuple[SpecRule, ...]] = (
        SpecRule(
            message="change, version and timestamp have a column each",
            holds=lambda columns: not repeated(name.lower() for name in columns.names),
            cel=" && ".join(
                f"(!has(self.{one}) || !has(self.{other}) || self.{one}.lowerAscii() != self.{other}.lowerAscii())"
                for one, other in combinations(("change", "version", "timestamp"), 2)
            ),
        ),
    )


class DeltaLake(Model):
    """A table whose commits arrive: the rows that each adds or, where the table has a change data feed, changes."""

    uri: Annotated[str, StringConstraints(min_length=1, max_length=1024)] = Field(
        description="Folder of the table: a path, or a URL of s3, gs, az or abfss."
    )
    start_at: Annotated[
        str, StringConstraints(pattern=rf"^({SNAPSHOT}|{EARLIEST}|{LATEST}|[0-9]{{1,15}})$", max_length=15)
    ] = Field(
        SNAPSHOT,
        description="Where the first batch begins: `Snapshot`, all rows that the table has, then its commits; `Earliest`, "
        "the first commit that its log still has; `Latest`, commits that come later; or a version such as `'12'`.",
    )
    on_change: OnChange = Field(
        OnChange.REJECT,
        description="What a commit that deletes or changes rows does: it is refused, or brings nothing, or what it inserts "
        "and what rows are after an update is read from the table's change data feed.",
    )
    include: DeltaColumns = Field(DeltaColumns(), description="Columns of a row beside those of the table.")
    max_commits: int = Field(100, ge=1, le=10_000, description="Commits that one batch takes at most.")
    max_bytes: Bytes = Field(
        2 * 1024**3,
        description="A batch takes no further commit at this many bytes. One that is larger is a batch by itself.",
    )
    secret_ref: SecretRef | None = Field(
        None, description="Secret with the credentials of the table's storage."
    )

    @property
    def place(self) -> str:
        """Where it is, as people read it."""
        return self.uri

    @property
    def columns(self) -> DeltaColumns:
        """What becomes columns beside those of the table."""
        return self.include

    @property
    def opened(self) -> tuple[str, ...]:
        """URIs that are opened."""
        return (self.uri,)

    rules: ClassVar[tuple[SpecRule, ...]] = (
        NO_CREDENTIALS,
        NO_CHAIN,
        is_folder("a Delta table"),
    )
