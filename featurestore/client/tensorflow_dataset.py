"""A training set as a dataset of TensorFlow, whose place is kept here. This needs tensorflow, and is loaded by its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from featurestore.client.batch_arrays import arrays_of
from featurestore.client.training_reader import TrainingReader
from featurestore.errors import RequestError


class TensorflowDataset:
    """``dataset`` is a ``tf.data.Dataset`` that gives batches as ``{column: tensor}``.

    TensorFlow reads ahead and cannot keep a generator in its checkpoints. So where a training is, is told by how many batches
    it has taken: ``state_dict(batches)``. See :meth:`featurestore.client.training_data.TrainingData.to_tf`.
    """

    def __init__(self, reader: TrainingReader, schema: pa.Schema, fill: Mapping[str, Any]) -> None:
        self._reader, self._fill = reader, dict(fill)
        self._begin(reader.state_dict())
        # The types, and which lists are of which length, as the first rows say them.
        empty = {name: values.dtype for name, values in _arrays_of_nothing(schema, self._fill).items()}
        signature = {
            name: tf.TensorSpec(
                [None, None] if pa.types.is_list(schema.field(name).type) else [None], _type(kind)
            )
            for name, kind in empty.items()
        }
        self.dataset = tf.data.Dataset.from_generator(self._batches, output_signature=signature)

    def state_dict(self, batches: int) -> dict[str, Any]:
        """Where all ranks are after so many batches of the iteration that was begun last.

        Raises:
            RequestError: so many were not read yet.
        """
        if not 0 <= batches < len(self._places):
            raise RequestError(
                "so many batches were not read",
                where="batches",
                wanted=f"0 to {len(self._places) - 1}",
                got=str(batches),
            )
        epoch, position = self._places[batches]
        return {**self._state, "epoch": epoch, "position": position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration begin after the batch of a state; else as the reader's."""
        self._reader.load_state_dict(state)
        self._begin(self._reader.state_dict())

    def _begin(self, state: dict[str, Any]) -> None:
        """``_places``: epoch and position at the beginning, and after each batch; a long training has many."""
        self._state, self._places = state, [(state["epoch"], state["position"])]

    def _batches(self) -> Iterator[dict[str, Any]]:
        """From the same place each time that an iteration begins."""
        self._begin(self._state)
        places = self._places
        self._reader.load_state_dict(self._state)
        for batch in self._reader:
            after = self._reader.state_dict()
            places.append((after["epoch"], after["position"]))
            yield arrays_of(batch, self._fill, texts=True)


def _arrays_of_nothing(schema: pa.Schema, fill: Mapping[str, Any]) -> dict[str, Any]:
    [batch] = schema.empty_table().to_batches() or [pa.RecordBatch.from_pylist([], schema=schema)]
    plain = [field for field in schema if not pa.types.is_list(field.type)]
    arrays = arrays_of(batch.select([field.name for field in plain]), fill, texts=True)
    lists = {
        field.name: np.empty(0, field.type.value_type.to_pandas_dtype())
        for field in schema
        if field not in plain
    }
    return {field.name: arrays[field.name] if field.name in arrays else lists[field.name] for field in schema}


def _type(kind: Any) -> Any:
    return tf.string if kind.hasobject else tf.as_dtype(kind)
