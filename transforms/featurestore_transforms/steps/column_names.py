"""Names of the columns of a file, and which of them a table could confuse with others or with ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_LONGEST = 255
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class ColumnNames:
    """``originals``: name in plans to the name in the file. Unusable names have a substitute in plans.

    ``unusable``: name in the file to what is wrong with it; such a column is taken only if ``spec.columns`` gives it
    another name (``source``). ``repeated``: names that more than one column has; none of these is taken.
    """

    originals: Mapping[str, str] = field(default_factory=dict)
    unusable: Mapping[str, str] = field(default_factory=dict)
    repeated: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, names: Sequence[str]) -> ColumnNames:
        """The names of a file's columns.

        >>> found = ColumnNames.of(["id", "__deleted", "v", "v"])
        >>> found.originals, list(found.unusable), list(found.repeated)
        ({'id': 'id', '__source_1': '__deleted'}, ['__deleted'], ['v'])
        """
        counts = Counter(names)
        repeated = {name: f"two columns have the name {short(name)}" for name, n in counts.items() if n > 1}
        unusable = {
            name: why for name in counts if name not in repeated and (why := _unusable(name)) is not None
        }
        originals = {
            f"__source_{place}" if name in unusable else name: name
            for place, name in enumerate(names)
            if name not in repeated
        }
        return cls(originals, unusable, repeated)


def is_index(name: str) -> bool:
    """Whether a column is the index of a pandas frame, which is left out unless ``spec.columns`` names it."""
    return name.startswith("__index_level_")


def short(name: str) -> str:
    """The name in quotes, cut where it is too long to be shown."""
    return repr(name if len(name) <= _SHOWN else name[:_SHOWN] + "…")


def _unusable(name: str) -> str | None:
    if name.startswith("__"):
        return f"names that begin with two underscores are reserved: column {short(name)}"
    if name == "*" or (name.startswith("^") and name.endswith("$")):
        # Polars would take it for a pattern, and other columns for this one.
        return f"the name of a column would be read as a pattern of names: {short(name)}"
    if not name:
        return "a column has an empty name"
    if len(name) > _LONGEST:
        return f"the name of a column has {len(name):,} characters, at most {_LONGEST}: {short(name)}"
    if any(character in name for character in "\0\r\n"):
        return f"the name of a column has a line break or a zero character: {short(name)}"
    return None
