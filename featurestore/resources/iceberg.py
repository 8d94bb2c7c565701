"""An Iceberg table as a source: where it is, where the first batch begins, what a change of rows does, what becomes columns."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from featurestore.resources.delta_lake import EARLIEST, LATEST, SNAPSHOT, OnChange, is_folder
from featurestore.resources.location import NO_CHAIN, NO_CREDENTIALS
from featurestore.resources.metadata import SecretRef
from featurestore.resources.model import Model
from featurestore.resources.quantity import Bytes
from featurestore.resources.rule import SpecRule
from featurestore.resources.value import ColumnName


class IcebergColumns(Model):
    """Columns beside those of the table, by the names that they are to have."""

    snapshot: ColumnName | None = Field(
        None, description="Column for the id of the snapshot that brought the row, as int64."
    )
    timestamp: ColumnName | None = Field(
        None,
        description="Column for the time of the snapshot. Null for rows that the table had at the start.",
    )

    @property
    def names(self) -> tuple[str, ...]:
        """All columns that are named here."""
        return tuple(name for name in (self.snapshot, self.timestamp) if name is not None)

    rules: ClassVar[tuple[SpecRule, ...]] = (
        SpecRule(
            message="snapshot and timestamp have a column each",
            holds=lambda columns: len({name.lower() for name in columns.names}) == len(columns.names),
            cel="!has(self.snapshot) || !has(self.timestamp)"
            " || self.snapshot.lowerAscii() != self.timestamp.lowerAscii()",
        ),
    )


class Iceberg(Model):
    """A table whose snapshots arrive: the rows that each adds."""

    uri: Annotated[str, StringConstraints(min_length=1, max_length=1024)] = Field(
        description="Folder of the table, which has `metadata/version-hint.text`: a path, or a URL of s3, gs, az or abfss."
    )
    start_at: Annotated[
        str, StringConstraints(pattern=rf"^({SNAPSHOT}|{EARLIEST}|{LATEST}|[0-9]{{1,19}})$", max_length=19)
    ] = Field(
        SNAPSHOT,
        description="Where the first batch begins: `Snapshot`, all rows that the table has, then its snapshots; `Earliest`, "
        "the first snapshot that it still has; `Latest`, snapshots that come later; or the id of a snapshot.",
    )
    on_change: Literal[OnChange.REJECT, OnChange.IGNORE] = Field(
        OnChange.REJECT,
        description="What a snapshot that deletes or changes rows does: it is refused, or brings nothing.",
    )
    include: IcebergColumns = Field(
        IcebergColumns(), description="Columns of a row beside those of the table."
    )
    max_snapshots: int = Field(100, ge=1, le=10_000, description="Snapshots that one batch takes at most.")
    max_bytes: Bytes = Field(
        2 * 1024**3,
        description="A batch takes no further snapshot at this many bytes. One that is larger is a batch by itself.",
    )
    secret_ref: SecretRef | None = Field(
        None, description="Secret with the credentials of the table's storage."
    )

    @property
    def place(self) -> str:
        """Where it is, as people read it."""
        return self.uri

    @property
    def columns(self) -> IcebergColumns:
        """What becomes columns beside those of the table."""
        return self.include

    @property
    def opened(self) -> tuple[str, ...]:
        """URIs that are opened."""
        return (self.uri,)

    rules: ClassVar[tuple[SpecRule, ...]] = (
        NO_CREDENTIALS,
        NO_CHAIN,
        is_folder("an Iceberg table"),
    )
