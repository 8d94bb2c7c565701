"""Statistics of a view on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from featurestore.cli.output import columns
from featurestore.humanize import count, shown_value

if TYPE_CHECKING:
    from featurestore.profiles.column_statistics import ProfiledColumn
    from featurestore.views.view_statistics import ViewStatistics

_HEADER = ("FEATURE", "EMPTY", "DISTINCT", "MIN", "MEDIAN", "MAX", "MEAN", "DEVIATION", "MOST COMMON")


def statistics_section(statistics: ViewStatistics, width: int | None) -> tuple[str, str]:
    """Title and table of the statistics of all rows."""
    rows = [_row(name, feature) for name, feature in statistics.every.features.items()]
    title = f"Statistics of {count(statistics.every.rows, 'row')} at commit {statistics.commit:,}"
    return title, columns(list(_HEADER), rows, width)


def _row(name: str, column: ProfiledColumn) -> list[Any]:
    median = (column.quantiles or {}).get("0.5")
    common = column.common[0] if column.common and column.common[0].rows > 1 else None
    share = f"{shown_value(common.value)} ({common.rows / column.sampled:.0%})" if common else ""
    return [
        name,
        f"{column.nulls / column.count:.1%}" if column.count else "",
        "" if column.distinct is None else f"{column.distinct:,}",
        *(
            shown_value(value)
            for value in (column.minimum, median, column.maximum, column.mean, column.deviation)
        ),
        share,
    ]
