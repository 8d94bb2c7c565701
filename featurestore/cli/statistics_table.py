"""Statistics of a view on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from featurestore.cli.output import columns
from featurestore.humanize import count, shown_value

if TYPE_CHECKING:
    from featurestore.profiles.column_statistics import ProfiledColumn
    from featurestore.views.view_statistics import ViewStatistics

_HEADER = ("FEATURE", "EMPTY", "DISTINCT", "MIN", "MEDIAN", "MAX", "MEAN", "DEVIATION", "MOST COMMON")


def statistics_section(found: ViewStatistics, width: int | None) -> tuple[str, str]:
    """Title and table of the statistics of all rows."""
    rows = [_row(name, it) for name, it in found.every.features.items()]
    title = f"Statistics of {count(found.every.rows, 'row')} at commit {found.commit:,}"
    return title, columns(list(_HEADER), rows, width)


def _row(name: str, found: ProfiledColumn) -> list[Any]:
    median = (found.quantiles or {}).get("0.5")
    common = found.common[0] if found.common and found.common[0].rows > 1 else None
    share = f"{shown_value(common.value)} ({common.rows / found.sampled:.0%})" if common else ""
    return [
        name,
        f"{found.nulls / found.count:.1%}" if found.count else "",
        "" if found.distinct is None else f"{found.distinct:,}",
        *(shown_value(it) for it in (found.minimum, median, found.maximum, found.mean, found.deviation)),
        share,
    ]
