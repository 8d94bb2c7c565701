"""A version of a training set as an HTML page that stands alone, so that MLflow shows it among a run's artifacts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape

from featurestore.client.training_data import TrainingData
from featurestore.humanize import count, format_time, shown_value, size
from featurestore.profiles.column_statistics import ColumnStatistics
from featurestore.redaction import redact
from featurestore.training.training_manifest import TrainingPart

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; }
th, td { padding: .2rem 1rem .2rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid #8884; }
pre { overflow-x: auto; }
"""


def training_set_page(data: TrainingData) -> str:
    """What the version is made of, its parts, columns and statistics, and the code that reads it again."""
    manifest = data.manifest
    title = f"{data.name}, version {data.number}"
    code = f"featurestore.connect({redact(data.store)!r}).training_set({data.name!r}, {data.digest!r})"
    sections = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{count(manifest.rows, 'row')}, {size(manifest.size_bytes)}, digest <code>{escape(data.digest)}</code></p>",
        f"<pre><code>import featurestore\n\ndata = {escape(code)}</code></pre>",
        _section("Parts", ("part", "rows", "shards", "size", "from", "to", "without features"), _parts(data)),
        _section(
            "Columns",
            ("column", "type", "role", "feature"),
            [(column.name, column.type, column.role.value, column.feature) for column in manifest.columns],
        ),
        _section(
            "Statistics",
            ("part", "column", "values", "empty", "min", "max", "mean", "deviation"),
            [
                (part.name, name, *_statistics(statistics))
                for part in manifest.parts
                for name, statistics in part.statistics.items()
            ],
        ),
        _section(
            "Classes",
            ("part", "label", "value", "rows"),
            [(part, label, value, f"{rows:,}") for part, label, value, rows in manifest.classes()],
        ),
        _section(
            "Equal to a label",
            ("feature", "label", "rows"),
            [(leak.feature, leak.label, f"{leak.rows:,}") for leak in manifest.leaks],
        ),
        _section(
            "Views",
            ("view", "commit", "build", "definition"),
            [(view.name, f"{view.commit:,}", view.digest, view.spec) for view in manifest.pins.views],
        ),
        f"<h2>Definition</h2>\n<pre>{escape(json.dumps(manifest.definition, indent=2, ensure_ascii=False))}</pre>",
    ]
    body = "\n".join(section for section in sections if section)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _section(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table below its title; nothing where there are no rows."""
    lines = [f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows]
    if not lines:
        return ""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    return f"<h2>{escape(title)}</h2>\n<table>\n<tr>{head}</tr>\n" + "\n".join(lines) + "\n</table>"


def _parts(data: TrainingData) -> list[tuple[str, ...]]:
    return [
        (
            part.name,
            f"{part.rows:,}",
            f"{len(part.shards):,}",
            size(part.size_bytes),
            *_times(part),
            f"{part.rows_without_features:,}",
        )
        for part in data.manifest.parts
    ]


def _times(part: TrainingPart) -> tuple[str, str]:
    if part.earliest_us is None or part.latest_us is None:
        return "", ""
    return format_time(part.earliest_us), format_time(part.latest_us)


def _statistics(statistics: ColumnStatistics) -> tuple[str, ...]:
    values = (statistics.minimum, statistics.maximum, statistics.mean, statistics.deviation)
    return (
        f"{statistics.count - statistics.nulls:,}",
        f"{statistics.nulls:,}",
        *(shown_value(value) for value in values),
    )
