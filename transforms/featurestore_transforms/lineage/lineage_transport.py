"""Where events are sent, by the environment variables of OpenLineage's own clients.

https://openlineage.io/docs/client/python
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from featurestore.errors import SpecError

Send = Callable[[dict[str, Any]], None]
_PREFIX = "OPENLINEAGE__TRANSPORT__"
_TIMEOUT_S = 5.0


def transport(environ: Mapping[str, str]) -> Send | None:
    """What sends an event, or None if nobody asked for events.

    Raises:
        SpecError: what was asked for is not known.
    """
    if environ.get("OPENLINEAGE_DISABLED", "").strip().lower() == "true":
        return None
    settings = {
        name.removeprefix(_PREFIX).lower(): value
        for name, value in environ.items()
        if name.startswith(_PREFIX)
    }
    kind = settings.get("type", "").lower()
    if not kind and environ.get("OPENLINEAGE_URL"):
        kind = "http"
        settings = {
            "url": environ["OPENLINEAGE_URL"],
            "endpoint": environ.get("OPENLINEAGE_ENDPOINT", ""),
            "auth__api_key": environ.get("OPENLINEAGE_API_KEY", ""),
        }
    match kind:
        case "" | "noop":
            return None
        case "http" | "async_http" if settings.get("url"):
            return _http(settings)
        case "file" if settings.get("log_file_path"):
            return _file(settings)
    raise SpecError(
        "lineage has no place to go to",
        where=f"{_PREFIX}TYPE",
        wanted="http with a URL, or file with a LOG_FILE_PATH",
        got=kind,
    )


def _http(settings: Mapping[str, str]) -> Send:
    url = f"{settings['url'].rstrip('/')}/{(settings.get('endpoint') or 'api/v1/lineage').lstrip('/')}"
    if urlsplit(url).scheme not in ("http", "https"):
        raise SpecError("lineage has no place to go to", where="its URL", wanted="http:// or https://")
    headers = {"Content-Type": "application/json"}
    key = _api_key(settings)
    if key:
        headers["Authorization"] = f"Bearer {key}"
    timeout_s = float(settings.get("timeout") or _TIMEOUT_S)

    def send(event: dict[str, Any]) -> None:
        request = urllib.request.Request(url, json.dumps(event).encode(), headers, method="POST")
        with urllib.request.urlopen(request, timeout=timeout_s):
            pass

    return send


def _api_key(settings: Mapping[str, str]) -> str:
    known = {
        name.removeprefix("auth__"): value for name, value in settings.items() if name.startswith("auth__")
    }
    if settings.get("auth"):
        known |= {name.lower(): value for name, value in json.loads(settings["auth"]).items()}
    return known.get("apikey") or known.get("api_key") or ""


def _file(settings: Mapping[str, str]) -> Send:
    named = settings["log_file_path"]
    path = Path(unquote(urlsplit(named).path)) if named.startswith("file://") else Path(named)
    append = settings.get("append", "").lower() == "true"

    def send(event: dict[str, Any]) -> None:
        now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S.%f")
        into = path if append else path.with_name(f"{path.name}-{now}.json")
        with into.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")

    return send
