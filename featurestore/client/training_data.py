"""A version of a training set, read: its rows as a frame, or what stands in its manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from featurestore.client.answers import library, pandas_frame
from featurestore.errors import Damaged, NotFound, did_you_mean
from featurestore.storage import paths
from featurestore.storage.objects import Storage
from featurestore.training.training_manifest import ColumnRole, TrainingManifest, TrainingPart, TrainingShard
from featurestore.training.training_versions import find_manifest

if TYPE_CHECKING:
    import pyarrow as pa

    from featurestore.client.training_reader import TrainingReader


class TrainingData:
    """A complete version, which never changes. ``number`` is its version, ``digest`` names what it is made of."""

    def __init__(self, storage: Storage, name: str, number: int, manifest: TrainingManifest) -> None:
        self.name, self.number, self.manifest = name, number, manifest
        self._storage = storage
        self._folder = paths.training_data(name, manifest.digest)

    @classmethod
    def find(cls, storage: Storage, name: str, version: int | str | None = None) -> TrainingData:
        """The version of a number or digest, else the newest that is complete.

        Raises:
            NotFound: there is none.
            StorageError: storage did not answer.
        """
        chosen, manifest = find_manifest(storage, name, version)
        return cls(storage, name, chosen.number, manifest)

    @property
    def digest(self) -> str:
        return self.manifest.digest

    @property
    def store(self) -> str:
        """Root of the storage that it is in; :func:`featurestore.connect` opens it."""
        return self._storage.root

    @property
    def storage(self) -> Storage:
        """The storage that it is in, as it was opened."""
        return self._storage

    @property
    def uri(self) -> str:
        """Where its parts are."""
        return self._storage.uri(self._folder)

    @property
    def parts(self) -> dict[str, TrainingPart]:
        """Its parts by name, in their order."""
        return {part.name: part for part in self.manifest.parts}

    @property
    def schema(self) -> pa.Schema:
        """Of every shard."""
        import pyarrow.parquet as pq

        shards = [shard for part in self.manifest.parts for shard in part.shards]
        if not shards:
            raise NotFound(f"version {self.number} of the training set {self.name!r} has no row")
        with self._storage.opened(f"{self._folder}/{shards[0].path}") as file:
            return pq.read_schema(file)

    def to_arrow(self, part: str | None = None) -> pa.Table:
        """All rows of a part, or of all parts one after the other, as an Arrow table.

        Raises:
            NotFound: there is no such part.
            Damaged: a shard is not what was written.
            StorageError: storage did not answer.
        """
        import pyarrow as pa

        tables = list(self.tables(part))
        return pa.concat_tables(tables) if tables else self._nothing()

    def tables(self, part: str | None = None) -> Iterator[pa.Table]:
        """The rows of each shard, one after the other."""
        for shard in self._shards(part):
            yield self._table(shard)

    def shards(
        self,
        *,
        part: str | None = None,
        batch_rows: int = 1024,
        seed: int | None = None,
        epochs: int = 1,
        columns: Sequence[str] | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        worker: int = 0,
        workers: int = 1,
        remainder: str = "uneven",
        interleave: int = 4,
    ) -> TrainingReader:
        """An iterable of Arrow batches: each row once over all ranks, their workers and each epoch.

        With a ``seed`` each epoch has another order, the same in every process. ``state_dict()`` says where all ranks are,
        and ``load_state_dict()`` goes on there, also with another number of ranks or workers.

        ``rank``, ``world_size``: if not given, as the launcher's environment says when iteration begins. ``worker``: one
        of the ``workers`` of this rank, which give its batches in turns. ``remainder``: of an epoch's last rows, ``uneven``
        gives some ranks a row more, ``drop`` leaves out fewer rows than there are ranks, ``pad`` repeats some instead.
        ``interleave``: how many row groups are mixed; about twice as many are in memory.

        Raises:
            NotFound: there is no such part.
            RequestError: an argument is wrong. While iterating also: the environment tells no rank.
            Damaged: while iterating: a shard is not what was written.
            StorageError: while iterating: storage did not answer.
        """
        from featurestore.client.training_reader import TrainingReader

        return TrainingReader(
            self._storage,
            self.manifest,
            self._shards(part),
            part,
            batch_rows=batch_rows,
            seed=seed,
            epochs=epochs,
            columns=columns,
            rank=rank,
            world_size=world_size,
            worker=worker,
            workers=workers,
            remainder=remainder,
            interleave=interleave,
        )

    def to_polars(self, part: str | None = None) -> Any:
        """As a Polars DataFrame; else as :meth:`to_arrow`.

        Raises:
            RequestError: Polars is not installed.
        """
        return library("polars").from_arrow(self.to_arrow(part))

    def to_pandas(self, part: str | None = None) -> Any:
        """As a pandas DataFrame, whose integers stay integers; else as :meth:`to_arrow`.

        Raises:
            RequestError: pandas is not installed.
        """
        return pandas_frame(self.to_arrow(part))

    def to_torch(
        self,
        *,
        part: str | None = None,
        columns: Sequence[str] | None = None,
        fill: Mapping[str, Any] | None = None,
        **reading: Any,
    ) -> Any:
        """As an ``IterableDataset`` of PyTorch with ``state_dict``, whose items are batches, ``{column: tensor}``.

        Give it to a ``DataLoader`` with ``batch_size=None``; workers share the batches of their rank. ``columns``: labels and
        features if not given. ``fill``: column to what stands for a null; nulls among floats are NaN without.
        ``reading``: the other arguments of :meth:`shards`.

        Raises:
            RequestError: torch is not installed, or an argument is wrong. While iterating also: a column has nulls, or texts.
        """
        library("torch")
        read = partial(_reader, self, {**reading, "part": part, "columns": self._learned(columns)})
        return import_module("featurestore.client.torch_dataset").TorchDataset(read, fill or {})

    def to_tf(
        self,
        *,
        part: str | None = None,
        columns: Sequence[str] | None = None,
        fill: Mapping[str, Any] | None = None,
        **reading: Any,
    ) -> Any:
        """An object whose ``dataset`` is a ``tf.data.Dataset`` of batches, ``{column: tensor}``, texts included.

        ``state_dict(batches)`` is where all ranks are after so many of them, and ``load_state_dict`` lets the next iteration
        begin there. Else as :meth:`to_torch`.

        Raises:
            RequestError: tensorflow is not installed, or an argument is wrong. While iterating also: a column has nulls.
        """
        library("tensorflow")
        import pyarrow as pa

        names = self._learned(columns)
        reader = self.shards(part=part, columns=names, **reading)
        schema = self._nothing().schema
        module = import_module("featurestore.client.tensorflow_dataset")
        return module.TensorflowDataset(reader, pa.schema([schema.field(name) for name in names]), fill or {})

    def to_ray(self, part: str | None = None) -> Any:
        """As a Dataset of Ray Data, which reads each shard by a task.

        Workers of Ray Train rather take ``shards(rank=…, world_size=…)`` with their ranks, which loses no row.

        Raises:
            NotFound: there is no such part.
            RequestError: ray is not installed.
        """
        ray_data = library("ray.data")
        source = import_module("featurestore.client.ray_source").TrainingSetSource
        return ray_data.read_datasource(source(self._shards(part), self._table))

    def to_mlflow(self) -> Any:
        """As a dataset of MLflow, for ``mlflow.log_input``: with digest, schema, rows, and a source that finds it again.

        Raises:
            RequestError: MLflow is not installed.
        """
        library("mlflow")
        # By name: the room is above this one, and only this needs it.
        return import_module("featurestore.mlflow.training_dataset").TrainingDataset(self)

    def __repr__(self) -> str:
        parts = ", ".join(f"{name} {part.rows:,}" for name, part in self.parts.items())
        return f"<training set {self.name!r}, version {self.number}: {self.manifest.rows:,} rows ({parts})>"

    def _shards(self, part: str | None) -> list[TrainingShard]:
        if part is not None and part not in self.parts:
            raise NotFound(
                f"the training set {self.name!r} has no part {part!r}", hint=did_you_mean(part, self.parts)
            )
        return [
            shard for split in self.manifest.parts if part in (None, split.name) for shard in split.shards
        ]

    def _table(self, shard: TrainingShard) -> pa.Table:
        import pyarrow.parquet as pq

        with self._storage.opened(f"{self._folder}/{shard.path}") as file:
            table = pq.read_table(file)
        if len(table) != shard.rows:
            raise Damaged(
                "a shard is not what was written",
                where=self._storage.uri(f"{self._folder}/{shard.path}"),
                wanted=f"{shard.rows} rows",
                got=str(len(table)),
            )
        return table

    def _learned(self, columns: Sequence[str] | None) -> list[str]:
        """These columns, else labels and features."""
        if columns is not None:
            return list(columns)
        roles = (ColumnRole.LABEL, ColumnRole.FEATURE)
        return [column.name for column in self.manifest.columns if column.role in roles]

    def _nothing(self) -> pa.Table:
        """No rows, of the columns that there would be."""
        import pyarrow as pa

        from featurestore.views.schema import named_type

        return pa.schema(
            [pa.field(column.name, named_type(column.type)) for column in self.manifest.columns]
        ).empty_table()


def _reader(data: TrainingData, reading: Mapping[str, Any], worker: int, workers: int) -> TrainingReader:
    return data.shards(**reading, worker=worker, workers=workers)
