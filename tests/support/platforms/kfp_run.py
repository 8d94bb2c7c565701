"""Run where kfp is: the pipeline of the module ``pipeline`` is compiled and run, and what came of it printed as JSON.

``python kfp_run.py FOLDER STORE``: the folder has the module; ``pipeline.yaml`` and artifacts are written there.
"""

# mypy: ignore-errors
from __future__ import annotations

import json
import sys
from pathlib import Path

from kfp import compiler, local


def main(folder: str, store: str) -> None:
    sys.path.insert(0, folder)
    import pipeline

    compiler.Compiler().compile(pipeline.delays, f"{folder}/pipeline.yaml")
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=f"{folder}/out")
    pipeline.delays(store=store)
    [metadata] = Path(folder, "out").rglob("data")
    ends = {
        path.parent.name: json.loads(path.read_text())
        for path in Path(folder, "out").rglob("executor_output.json")
    }
    print(json.dumps({"ends": ends, "manifest": json.loads(metadata.read_text())}))


if __name__ == "__main__":
    main(*sys.argv[1:])
