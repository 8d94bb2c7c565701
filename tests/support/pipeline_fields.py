"""The reference of a DataPipeline's fields in docs/pipelines.md, made from the models: ``python -m pipeline_fields``."""

from __future__ import annotations

import re
from pathlib import Path

from featurestore.resources.field_docs import FieldDoc, all_fields
from featurestore.resources.kinds import KINDS

PAGE = Path(__file__).parents[2] / "docs" / "pipelines.md"
_BEGIN, _END = "<!-- fields -->\n", "<!-- end -->"


def table() -> str:
    """The fields as rows of Markdown; those of a Job only as a whole: they are Kubernetes' own."""
    rows = [
        _row(field) for field in all_fields(KINDS["DataPipeline"]) if not field.path.startswith("spec.job.")
    ]
    return "\n".join(["| field | type | default | |", "|---|---|---|---|", *rows, ""])


def written(page: str) -> str:
    """The page with the table as it is now."""
    return re.sub(rf"({_BEGIN}).*?({_END})", lambda found: found[1] + table() + found[2], page, flags=re.S)


def _row(field: FieldDoc) -> str:
    need = "required" if field.required else f"`{field.default}`" if field.default else ""
    said = " ".join([field.description, *(f"{rule[:1].upper()}{rule[1:]}." for rule in field.rules)])
    cells = [f"`{field.path.removeprefix('spec.')}`", field.type, need, said]
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
