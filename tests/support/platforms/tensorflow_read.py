"""Run where TensorFlow is: reads the training set ``set`` by ``tf.data``, and prints labels as JSON.

``python tensorflow_read.py STORE CODE``: the code, of the documentation, reads ``number`` batches of ``rows``.
"""

# mypy: ignore-errors
from __future__ import annotations

import json
import sys

import featurestore

READING = {"seed": 3, "batch_rows": 32, "epochs": 2, "fill": {"v": 0, "n_1d": 0}}


def labels(dataset):
    return [value for batch in dataset for value in batch["w"].numpy().tolist()]


def main(store, code):
    data = featurestore.connect(store).training_set("set")
    names = {"data": data}
    rows = data.to_tf(columns=["k", "w", "v", "n_1d"], **READING)
    found = {"whole": labels(rows.dataset), "again": labels(rows.dataset)}
    first = data.to_tf(**READING)
    found["begun"] = labels(first.dataset.prefetch(3).take(7))
    state = json.loads(json.dumps(first.state_dict(7)))
    second = data.to_tf(**READING)
    second.load_state_dict(state)
    found["rest"] = labels(second.dataset)
    spec = rows.dataset.element_spec
    found["dtypes"] = {name: spec[name].dtype.name for name in sorted(spec)}
    exec(code, names)
    found["page"] = names["rows"].state_dict(names["number"])["epoch"]
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
