"""Writes what krew installs: ``python operator/krew/archive.py FOLDER --homepage URL --uri URL``.

``kubectl-featurestore.tar.gz``: the plugin as one file of Python, which needs nothing besides, and the license.
``featurestore.yaml``: krew's manifest, with the archive's digest. The same sources give the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import tarfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULES = (
    "featurestore/__init__.py",
    "featurestore/humanize.py",
    "featurestore/printable.py",
    "featurestore/timestamps.py",
    "featurestore/cli/__init__.py",
    "featurestore/cli/output.py",
    *(f"featurestore/kubectl/{path.name}" for path in sorted((ROOT / "featurestore/kubectl").glob("*.py"))),
)
MAIN = "from featurestore.kubectl.__main__ import main\nmain()\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""No file of a zip is older."""


def executable() -> bytes:
    """The plugin: a line for the kernel, and a zip that Python runs."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in [
            *((module, (ROOT / module).read_text()) for module in MODULES),
            ("__main__.py", MAIN),
        ]:
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
    return b"#!/usr/bin/env python3\n" + packed.getvalue()


def tarball() -> bytes:
    """The archive that krew unpacks."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", filename="", mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w") as archive,
    ):
        license_ = (ROOT / "LICENSE").read_bytes()
        for name, content, mode in (
            ("kubectl-featurestore", executable(), 0o755),
            ("LICENSE", license_, 0o644),
        ):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def write(folder: Path, homepage: str, uri: str) -> None:
    """Both files, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    packed = tarball()
    (folder / "kubectl-featurestore.tar.gz").write_bytes(packed)
    filled = {
        "version": "v" + tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"],
        "homepage": homepage,
        "uri": uri,
        "sha256": hashlib.sha256(packed).hexdigest(),
    }
    manifest = Path(__file__).with_name("featurestore.yaml").read_text()
    for name, value in filled.items():
        manifest = manifest.replace(f'"{{{name}}}"', f'"{value}"')
    (folder / "featurestore.yaml").write_text("".join(manifest.splitlines(keepends=True)[1:]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--homepage", required=True, help="of the plugin")
    parser.add_argument("--uri", required=True, help="where the archive will be")
    asked = parser.parse_args()
    write(asked.folder, asked.homepage, asked.uri)


if __name__ == "__main__":
    main()
