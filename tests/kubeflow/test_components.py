"""Kubeflow's own compiler and local runner: the pipeline of the page waits for features and reads the set that has them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml
from own_environment import ROOT, own_environment, section
from training import begin, rows, training_set

PAGE = (ROOT / "docs" / "training-platforms.md").read_text()
(PIPELINE,) = re.findall(
    r"^```python\n(.*?)^```$", section(PAGE, "Kubeflow Pipelines"), re.MULTILINE | re.DOTALL
)
GOLDEN = Path(__file__).with_name("pipeline.yaml")


def without_version(compiled: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(compiled)
    del found["sdkVersion"]
    return found


def test_the_pipeline_of_the_page_compiles_to_the_same_and_runs(tmp_path: Path) -> None:
    kfp = own_environment("kubeflow", tmp_path)
    laptop = begin(tmp_path / "project", rows(300))
    laptop.apply(training_set(refresh="OnNewData"))
    laptop.run()
    folder = tmp_path / "pipeline"
    folder.mkdir()
    code = PIPELINE.replace('"aircraft-delays"', '"view"').replace('name="delays", view', 'name="set", view')
    (folder / "pipeline.py").write_text(code)
    found = kfp.ask("kfp_run.py", folder, laptop.storage.root, environ={"HOME": str(tmp_path)})

    compiled = without_version((folder / "pipeline.yaml").read_text())
    assert compiled == without_version(GOLDEN.read_text())
    tasks = compiled["root"]["dag"]["tasks"]
    assert (
        tasks["training-set"]["inputs"]["parameters"]["commit"]["taskOutputParameter"]["producerTask"]
        == "wait-fresh"
    )
    assert tasks["wait-fresh"]["cachingOptions"] == {}
    assert tasks["training-set"]["cachingOptions"] == {"enableCache": True}

    data = laptop.store(laptop.now).training_set("set")
    values = {name: it.get("parameterValues", {}) for name, it in found["ends"].items()}
    [view] = data.manifest.pins.views
    assert values["wait-fresh"]["commit"] == view.commit
    assert values["training-set"]["Output"] == data.digest
    assert values["train"]["Output"] == 300
    assert found["manifest"] == json.loads(data.manifest.to_bytes())
