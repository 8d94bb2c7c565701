"""The training set that frameworks read, and who asks them."""

from __future__ import annotations

import re
from typing import Any, NamedTuple, Protocol

from own_environment import ROOT, section

HEADINGS = {"torch": "PyTorch", "tensorflow": "TensorFlow", "ray": "Ray"}
NAMES = {
    '"delays"': '"set"',
    'part="train", ': "",
    'fill={"flights_7d": 0}': 'fill={"v": 0, "n_1d": 0}',
    '"late"': '"w"',
    '"last_arr_delay"': '"n_1d"',
}
"""What the page calls things, and the training set that is read."""


class Made(NamedTuple):
    """``labels``: column ``w`` of all rows, each of which is there once."""

    store: str
    labels: list[float]


class AskFramework(Protocol):
    def __call__(self, framework: str, script: str) -> Any:
        """What a script of ``platforms/`` prints about the training set."""
        ...


def example(framework: str) -> str:
    """The code that the page has for a framework, about this training set."""
    page = section((ROOT / "docs" / "training-platforms.md").read_text(), HEADINGS[framework])
    [code] = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    for name, ours in NAMES.items():
        code = code.replace(name, ours)
    return str(code)
