"""Run where PyTorch is: reads the training set ``set`` by its loaders, and prints labels as JSON.

``python torch_read.py STORE CODE``: the code, of the documentation, leaves ``rows``, read whole.
"""

# mypy: ignore-errors
from __future__ import annotations

import io
import json
import os
import sys

import torch
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

import featurestore
from featurestore.errors import RequestError

READING = {"seed": 3, "batch_rows": 32, "fill": {"v": 0, "n_1d": 0}}


def labels(batches):
    return [value for batch in batches for value in batch["w"].tolist()]


def saved(state):
    kept = io.BytesIO()
    torch.save(state, kept)
    kept.seek(0)
    return torch.load(kept, weights_only=False)


def resumed(data, workers):
    def loader():
        return StatefulDataLoader(
            data.to_torch(epochs=2, **READING), batch_size=None, num_workers=workers, pin_memory=False
        )

    whole = labels(loader())
    first = loader()
    begun = []
    for number, batch in enumerate(first):
        begun += batch["w"].tolist()
        if number == 6:
            break
    state = saved(first.state_dict())
    second = loader()
    second.load_state_dict(state)
    return {"whole": whole, "begun": begun, "rest": labels(second)}


def with_others(data):
    """One rank without workers is stopped, and goes on as two ranks of two workers each."""
    dataset = data.to_torch(**READING)
    begun = []
    for number, batch in enumerate(DataLoader(dataset, batch_size=None)):
        begun += batch["w"].tolist()
        if number == 4:
            break
    state, rest = saved(dataset.state_dict()), []
    for rank in range(2):
        os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2"}
        other = data.to_torch(**READING)
        other.load_state_dict(state)
        rest += labels(DataLoader(other, batch_size=None, num_workers=2))
    return {"begun": begun, "rest": rest}


def main(store, code):
    names = {}
    exec(code, names)
    data = featurestore.connect(store).training_set("set")
    found = {"stateful 0": resumed(data, 0), "stateful 2": resumed(data, 2), "others": with_others(data)}
    os.environ.pop("RANK")
    os.environ.pop("WORLD_SIZE")
    dataset = data.to_torch(**READING)
    found["workers"] = labels(
        DataLoader(dataset, batch_size=None, num_workers=2, multiprocessing_context="spawn")
    )
    [batch] = data.to_torch(batch_rows=700, fill={"v": 0, "n_1d": 0})
    found["dtypes"] = {name: str(batch[name].dtype) for name in sorted(batch)}
    try:
        list(data.to_torch())
    except RequestError as error:
        found["nulls"] = str(error)
    found["page"] = names["rows"].state_dict()["epoch"]
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
