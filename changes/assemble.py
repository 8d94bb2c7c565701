"""Moves the fragments of this folder to the top of the newest section of CHANGELOG.md."""

from __future__ import annotations

import sys
from pathlib import Path


def assemble(fragments: Path, changelog: Path) -> int:
    """How many fragments were moved.

    Raises:
        SystemExit: a fragment is not a list, or the changelog has no section.
    """
    found = sorted(path for path in fragments.glob("*.md") if path.name != "README.md")
    texts = [path.read_text().strip() for path in found]
    for path, text in zip(found, texts, strict=True):
        if not text.startswith("- "):
            sys.exit(f"{path}: wanted list items that begin with '- ', got {text[:40]!r}")
    head, section, rest = changelog.read_text().partition("\n## ")
    title, _, items = rest.partition("\n\n")
    if not section:
        sys.exit(f"{changelog}: wanted a section that begins with '## '")
    changelog.write_text(f"{head}{section}{title}\n\n" + "".join(f"{text}\n" for text in texts) + items)
    for path in found:
        path.unlink()
    return len(found)


if __name__ == "__main__":
    folder = Path(__file__).parent
    print(f"{assemble(folder, folder.parent / 'CHANGELOG.md')} moved to CHANGELOG.md")
