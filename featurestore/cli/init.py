"""``featurestore init``: a folder to begin with."""

from __future__ import annotations

from pathlib import Path

from featurestore.cli.template import FILES, FOLDERS
from featurestore.errors import RequestError


def init(folder: Path) -> list[Path]:
    """Write the example's files; the paths written.

    Raises:
        RequestError: one of the files is there already. Nothing is written then.
    """
    there = [name for name in FILES if (folder / name).exists()]
    if there:
        raise RequestError(
            "the folder holds a project already",
            where=str(folder),
            wanted="an empty or a new folder",
            got=", ".join(there),
            hint="Choose another name, or edit what is there",
        )
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in FILES.items():
        path = folder / name
        path.write_text(text)
        written.append(path)
    return written
