"""What `docs/training-platforms.md` has for those that run trainings: an example of each kind, and the program that they run."""

from __future__ import annotations

import re
from typing import Any

import yaml
from own_environment import ROOT, section

Object = dict[str, Any]
PAGE = section((ROOT / "docs" / "training-platforms.md").read_text(), "Training operators")
EXAMPLES: dict[str, Object] = {
    made["kind"]: made
    for text in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for made in yaml.safe_load_all(text)
}
_PROGRAMS: list[str] = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
_SAVE = "saved.write_text(json.dumps(rows.state_dict()))"


def program(checkpoints: str = "/checkpoints", when_saved: str = "") -> str:
    """The program, which reads the set ``set`` once in small batches, and prints the labels ``w`` of each as JSON.

    ``when_saved``: what it does besides when it has kept its place.
    """
    [code] = _PROGRAMS
    code = code.replace('"delays"', '"set"').replace('part="train", ', "")
    for name, ours in {
        '"/checkpoints"': repr(checkpoints),
        "epochs=3, batch_rows=1024": "epochs=1, batch_rows=32",
        "...  # a step of the training": "print(json.dumps(batch.column('w').to_pylist()), flush=True)",
        _SAVE: f"{_SAVE}\n    {when_saved}",
    }.items():
        assert name in code, name
        code = code.replace(name, ours)
    return code
