"""Small view tables, really stored, and the point-in-time join in plain Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurestore.offline.held_rows import HeldRows
from featurestore.offline.join import Times, joined_schema, joined_with, point_in_time
from featurestore.resources.feature_view import FeatureViewSpec
from featurestore.resources.outputs import Output, outputs
from featurestore.storage import paths
from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage
from featurestore.storage.row_groups import RowGroups
from featurestore.views.feature_query import FeatureQuery, FeatureValues
from featurestore.views.schema import arrow_type, view_schema
from featurestore.views.value_status import Status
from featurestore_transforms.tables.data_files import describe

SECOND = 1_000_000


@dataclass(frozen=True)
class Row:
    """A row of a view's table; times in microseconds. ``at`` is its batch, file and row."""

    keys: tuple[Any, ...]
    event: int
    values: Mapping[str, Any]
    created: int = 0
    at: tuple[int, int, int] = (1, 0, 0)

    @property
    def rank(self) -> tuple[int, int, tuple[int, int, int]]:
        return self.event, self.created, self.at


@dataclass
class Case:
    """A view with rows in files, and questions to it."""

    spec: FeatureViewSpec
    storage: Storage
    row_group_rows: int = 1_000_000
    commits: int = 0
    rows: list[Row] = field(default_factory=list)

    def add(self, *rows: Row) -> None:
        """Commit the rows as one more data file, in the given order."""
        self.commits += 1
        schema = view_schema(self.spec)
        keys = [key.name for key in self.spec.entity.join_keys]
        columns: dict[str, list[Any]] = {name: [] for name in schema.names}
        for row in rows:
            record = {
                **dict(zip(keys, row.keys, strict=True)),
                "event_timestamp": row.event,
                "created_timestamp": row.created,
                **dict(zip(("__batch", "__file", "__row"), row.at, strict=True)),
                **row.values,
            }
            for name in schema.names:
                columns[name].append(record.get(name))
        path, name = paths.features("v", "d"), f"{self.commits}.parquet"
        table = Table.create(self.storage, path, schema)
        arrays = [pa.array(columns[field.name], field.type) for field in schema]
        content = pa.Table.from_arrays(arrays, schema=schema)
        uri = self.storage.uri(f"{path}/{name}")
        pq.write_table(content, uri, row_group_size=self.row_group_rows)
        file = describe(self.storage, path, name)
        table.commit(app_id="d", number=self.commits, add=[file], metadata={})
        self.rows += rows

    def ask(
        self,
        labels: Sequence[tuple[tuple[Any, ...], int | None]],
        as_of: int | None = None,
        version: int | None = None,
    ) -> dict[str, list[tuple[Any, str]]]:
        """Output name to the value and status of each label."""
        keys = self.spec.entity.join_keys
        entities = pa.table(
            {
                key.name: pa.array([label[0][n] for label in labels], arrow_type(key.type))
                for n, key in enumerate(keys)
            }
        )
        times = Times(
            np.array([label[1] or 0 for label in labels], np.int64),
            np.array([label[1] is not None for label in labels], np.bool_),
            as_of,
        )
        lookup = FeatureQuery("v", self.spec, "d", outputs(self.spec), entities)
        looked = point_in_time(self.storage, lookup, times, version)
        if as_of is None and version is None:
            self._check_held(lookup, times, looked)
        for output in outputs(self.spec):
            assert looked.columns[output.name].type == arrow_type(output.type)
        return {
            name: list(
                zip(
                    looked.columns[name].to_pylist(),
                    [Status(s).name for s in looked.statuses[name]],
                    strict=True,
                )
            )
            for name in looked.columns
        }

    def _check_held(self, lookup: FeatureQuery, times: Times, looked: FeatureValues) -> None:
        """Rows that are in memory give the same."""
        schema = joined_schema(lookup.spec, lookup.outputs)
        table = Table.open(self.storage, paths.features("v", "d"))
        groups = RowGroups.of(table, {}) if table is not None else RowGroups(self.storage, [])
        rows = groups.fetch(schema, np.arange(groups.rows))
        held = joined_with(HeldRows(rows), lookup, times)
        assert held.event_times == looked.event_times
        for name, values in looked.columns.items():
            # As texts, in which what is no number is itself.
            assert str(held.columns[name].to_pylist()) == str(values.to_pylist())
            assert held.statuses[name].tolist() == looked.statuses[name].tolist()

    def wanted(
        self, labels: Sequence[tuple[tuple[Any, ...], int | None]], as_of: int | None = None
    ) -> dict[str, list[tuple[Any, str]]]:
        """What plain Python answers."""
        return {
            output.name: [self._answer(output, keys, at, as_of) for keys, at in labels]
            for output in outputs(self.spec)
        }

    def _answer(
        self, output: Output, keys: tuple[Any, ...], at: int | None, as_of: int | None
    ) -> tuple[Any, str]:
        past = sorted(
            (
                row
                for row in self.rows
                if at is not None
                and row.keys == keys
                and row.event <= at
                and (as_of is None or row.created <= as_of)
            ),
            key=lambda row: row.rank,
        )
        if not past or at is None:
            return None, "NOT_FOUND"
        if output.window_us is None:
            ttl = self.spec.ttl
            if ttl is not None and at - past[-1].event > ttl // timedelta(microseconds=1):
                return None, "OUTSIDE_MAX_AGE"
            value = past[-1].values.get(output.column)
        else:
            assert output.hop_us is not None
            tail = (at - output.window_us) // output.hop_us * output.hop_us
            inside = [row.values.get(output.column) for row in past if row.event >= tail]
            value = _aggregate(output, [value for value in inside if value is not None])
        return value, "NULL_VALUE" if value is None else "PRESENT"


def _aggregate(output: Output, values: list[Any]) -> Any:
    assert output.feature.aggregate is not None
    function = output.feature.aggregate.function.value
    if function == "Count":
        return len(values)
    if not values:
        return None
    choices: dict[str, Callable[[list[Any]], Any]] = {
        "Sum": sum,
        "Min": min,
        "Max": max,
        "First": lambda v: v[0],
        "Last": lambda v: v[-1],
    }
    return choices[function](values)


def make_spec(
    features: Sequence[Mapping[str, Any]],
    keys: Mapping[str, str] | None = None,
    ttl: str | None = None,
) -> FeatureViewSpec:
    return FeatureViewSpec.model_validate(
        {
            "entity": {
                "name": "thing",
                "joinKeys": [{"name": k, "type": t} for k, t in (keys or {"k": "string"}).items()],
            },
            "source": {"pipeline": "p"},
            "timestampField": "ts",
            "ttl": ttl,
            "features": list(features),
        }
    )


@pytest.fixture
def case(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Case]:
    """``case(features, keys={name: type}, ttl=…)``: a view without rows, in a storage of its own."""

    def make(
        features: Sequence[Mapping[str, Any]] | None = None,
        keys: Mapping[str, str] | None = None,
        ttl: str | None = None,
        row_group_rows: int = 1_000_000,
    ) -> Case:
        spec = make_spec(features or [{"name": "x", "type": "int64", "column": "x"}], keys, ttl)
        root: Path = tmp_path_factory.mktemp("store")
        return Case(spec, Storage(str(root)), row_group_rows)

    return make


@pytest.fixture(scope="session")
def row() -> type[Row]:
    return Row
