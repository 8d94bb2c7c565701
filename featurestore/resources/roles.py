"""The kinds in manifests: ``python -m featurestore.resources.roles FOLDER...`` writes them from the table.

In roles, in the webhook's rules and in the list of definitions, a line ends with the words that say which kinds:

    resources: [featurestores, datapipelines, featureviews]  # kinds: every

and in a table of documentation a cell: ``featurestores, datapipelines, featureviews <!-- kinds: every -->``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from featurestore.resources.kinds import KINDS, defined

_LINE = re.compile(r"^( *(?:- )?resources: )\[[^]]*\](  # kinds: ([\w ]+))$", re.MULTILINE)

_CELL = re.compile(r"(?<=\| )[a-z/, ]*( <!-- kinds: ([\w ]+) -->)")


def lists() -> dict[str, list[str]]:
    """The words after ``# kinds:`` to what the line lists."""
    kinds = KINDS.values()
    return {
        "every": [kind.plural for kind in kinds],
        "status of every": [f"{kind.plural}/status" for kind in kinds],
        "with data": [kind.plural for kind in kinds if kind.has_data],
        "that editors write": [kind.plural for kind in kinds if kind.written_by == "edit"],
        "to push to": [f"{KINDS['DataPipeline'].plural}/push"],
        "definitions": [f"{kind.plural}.yaml" for kind in defined()],
    }


def written(text: str) -> str:
    """The text with the kinds of the table.

    >>> written("  resources: []  # kinds: with data").startswith("  resources: [datapipelines, featureviews, ")
    True
    """
    known = lists()
    text = _CELL.sub(lambda match: ", ".join(known[match[2]]) + match[1], text)
    return _LINE.sub(lambda match: f"{match[1]}[{', '.join(known[match[3]])}]{match[2]}", text)


def main(folders: list[str]) -> None:
    for path in sorted(
        path for folder in folders for path in Path(folder).iterdir() if path.suffix in (".yaml", ".md")
    ):
        before = path.read_text()
        after = written(before)
        if after != before:
            path.write_text(after)
            print(path)


if __name__ == "__main__":
    main(sys.argv[1:])
