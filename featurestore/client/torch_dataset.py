"""A training set as a dataset of PyTorch. This needs torch, and is loaded by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from featurestore.client.batch_arrays import arrays_of
from featurestore.client.training_reader import TrainingReader
from featurestore.errors import RequestError


class TorchDataset(IterableDataset):  # type: ignore[misc]
    """Gives batches as ``{column: tensor}``. See :meth:`featurestore.client.training_data.TrainingData.to_torch`.

    ``reader``: makes the reader of a worker and a number of workers.
    """

    def __init__(self, reader: Callable[[int, int], TrainingReader], fill: Mapping[str, Any]) -> None:
        super().__init__()
        self._make, self._fill = reader, dict(fill)
        self._at, self._reader = (0, 1), reader(0, 1)
        self._state: Mapping[str, Any] | None = None

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        info = get_worker_info()
        self._open((0, 1) if info is None else (info.id, info.num_workers))
        for batch in self._reader:
            arrays = arrays_of(batch, self._fill, texts=False)
            yield {name: torch.from_numpy(values) for name, values in arrays.items()}

    def state_dict(self) -> dict[str, Any]:
        """Where all ranks are after the batch that was given last.

        In a worker's process: where that worker is, which only the same one of as many goes on from, as
        ``StatefulDataLoader`` has it.
        """
        state = self._reader.state_dict()
        if self._at == (0, 1):
            return state
        return {**state, "worker": [*self._at], "turn": self._reader.turn}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after the batch of a state; else as the reader's."""
        self._reader.load_state_dict(state)
        self._at, self._state = (0, 1), dict(state)

    def _open(self, at: tuple[int, int]) -> None:
        """The reader of a worker, at the state that was loaded."""
        state, own = self._state, None if self._state is None else self._state.get("worker")
        if own is not None and tuple(own) != at:
            raise RequestError(
                "this state is of another worker",
                where="state",
                wanted=f"one of worker {at[0]} of {at[1]}",
                got=f"one of worker {own[0]} of {own[1]}",
                hint="Go on with as many workers, or keep the state of a dataset that is read without workers",
            )
        if at == self._at and own is None:
            return
        self._at, self._reader = at, self._make(*at)
        if state is not None:
            self._reader.load_state_dict(state, state["turn"] if own is not None else 0)
            self._state = {key: value for key, value in state.items() if key not in ("worker", "turn")}
