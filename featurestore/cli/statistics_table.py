"""Statistics of a view on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from featurestore.cli.output import columns
from featurestore.humanize import count

if TYPE_CHECKING:
    from featurestore.profiles.column_statistics import ProfiledColumn
    from featurestore.views.view_statistics import ViewStatistics

_HEADER = ("FEATURE", "EMPTY", "DISTINCT", "MIN", "MEDIAN", "MAX", "MEAN", "DEVIATION", "MOST COMMON")
_SHOWN = 24


def statistics_section(found: ViewStatistics, width: int | None) -> tuple[str, str]:
    """Title and table of the statistics of all rows."""
    rows = [_row(name, it) for name, it in found.every.features.items()]
    title = f"Statistics of {count(found.every.rows, 'row')} at commit {found.commit:,}"
    return title, columns(list(_HEADER), rows, width)


def _row(name: str, found: ProfiledColumn) -> list[Any]:
    median = (found.quantiles or {}).get("0.5")
    common = found.common[0] if found.common and found.common[0].rows > 1 else None
    share = f"{_value(common.value)} ({common.rows / found.sampled:.0%})" if common else ""
    return [
        name,
        f"{found.nulls / found.count:.1%}" if found.count else "",
        "" if found.distinct is None else f"{found.distinct:,}",
        *(_value(it) for it in (found.minimum, median, found.maximum, found.mean, found.deviation)),
        share,
    ]


def _value(value: Any) -> str:
    """A value in few characters.

    >>> _value(1234), _value(0.123456), _value("a" * 99), _value(None)
    ('1,234', '0.1235', 'aaaaaaaaaaaaaaaaaaaaaaa…', '')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if len(value) <= _SHOWN else f"{value[: _SHOWN - 1]}…"
