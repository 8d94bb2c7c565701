"""The routes of the server, one file for each noun; a new one is a file here and its line in ``ROUTES``."""

from __future__ import annotations

from featurestore.server.route import Route
from featurestore.server.routes import catalog, feast, probes, push_rows, read_features

ROUTES: tuple[Route, ...] = (
    read_features.ROUTE,
    feast.ROUTE,
    push_rows.ROUTE,
    catalog.VIEWS,
    catalog.SERVICES,
    probes.HEALTH,
    probes.READY,
    probes.METRICS,
)
