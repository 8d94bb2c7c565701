"""``featurestore init``: a folder to begin with."""

from __future__ import annotations

from pathlib import Path

from featurestore.cli.template import FILES, FOLDERS
from featurestore.errors import RequestError
from featurestore.resources.json_schema import EDITOR_LINE, SCHEMA_FILE, json_schema_text


def init(folder: Path) -> list[Path]:
    """Write the example's files, and the schema by which editors check them. Returns the paths written.

    Raises:
        RequestError: one of the files is there already. Nothing is written then.
    """
    existing = [name for name in FILES if (folder / name).exists()]
    if existing:
        raise RequestError(
            "the folder holds a project already",
            where=str(folder),
            wanted="an empty or a new folder",
            got=", ".join(existing),
            hint="Choose another name, or edit what is there",
        )
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in {**FILES, SCHEMA_FILE: json_schema_text()}.items():
        path = folder / name
        path.write_text(f"{EDITOR_LINE}{text}" if path.suffix == ".yaml" else text)
        written.append(path)
    return written
