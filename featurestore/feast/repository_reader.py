"""Write what a Feast repository defines to a file, as JSON. Run by the interpreter that has Feast, as a script:

    python - REPOSITORY OUTPUT < repository_reader.py

It imports nothing of this project. What it writes is a ``Repository`` of ``repository.py``, or ``{"failure": …}``.
Nothing is applied: Feast's registry and stores are not opened.
"""

import json
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any


def read(folder: Path) -> dict[str, Any]:
    """Everything the Python files of a repository define, as Feast's own ``apply`` finds it."""
    try:
        import feast
        from feast.repo_config import load_repo_config
        from feast.repo_operations import parse_repo
    except ImportError as error:
        return {"failure": {"step": "feast", "error": last_line(error)}}
    settings = Path(os.environ.get("FEAST_FS_YAML_FILE_PATH", folder / "feature_store.yaml"))
    try:
        config = load_repo_config(folder, settings)
        online = config.online_store
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        return {"failure": {"step": "settings", "where": str(settings), "error": last_line(error)}}
    sys.dont_write_bytecode = True
    try:
        contents = parse_repo(folder)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, it is told
        return {"failure": {"step": "import", "where": place(error, folder), "error": last_line(error)}}
    reading = FeastReading(folder, config)
    views = [*contents.feature_views, *contents.stream_feature_views]
    return {
        "version": feast.__version__,
        "online": settings_of(online),
        "projects": [described(project) for project in getattr(contents, "projects", ())],
        "entities": [entity(defined) for defined in contents.entities if defined.name != "__dummy"],
        "views": [reading.view(view) for view in views],
        "on_demand": [reading.on_demand(view) for view in contents.on_demand_feature_views],
        "services": [service(defined) for defined in contents.feature_services],
        # After the views, which may bring sources of their own.
        "sources": [reading.source(source) for source in all_of(contents.data_sources, reading.met)],
        "others": [
            {"kind": type(other).__name__, "name": other.name}
            for other in (*getattr(contents, "label_views", ()), *getattr(contents, "permissions", ()))
        ],
    }


class FeastReading:
    """What is read of one repository. ``met``: the batch sources of its views."""

    def __init__(self, folder: Path, config: Any) -> None:
        self._folder = folder
        self._config = config
        self.met: list[Any] = []

    def view(self, view: Any) -> dict[str, Any]:
        source = getattr(view, "batch_source", None)
        if source is not None:
            self.met.append(source)
        stream = getattr(view, "stream_source", None)
        computed = any(
            getattr(view, name, None) for name in ("feature_transformation", "udf", "aggregations")
        )
        return {
            **described(view),
            "kind": type(view).__name__,
            "entities": [name for name in view.entities if name != "__dummy"],
            "ttl_s": view.ttl.total_seconds() if view.ttl else 0,
            "online": view.online,
            "enabled": getattr(view, "enabled", True),
            "fields": [field(column) for column in (*view.entity_columns, *view.features)],
            "source": None if source is None else id(source),
            "stream": "" if stream is None else type(stream).__name__,
            "computed": computed,
            "on_views": [source_view.name for source_view in getattr(view, "source_views", None) or ()],
            "version": pinned(view),
        }

    def source(self, source: Any) -> dict[str, Any]:
        kind = type(source).__name__
        batch = getattr(source, "batch_source", None)
        fields: dict[str, Any] = {
            **described(source),
            "id": id(source),
            "kind": kind,
            "batch": None if batch is None else id(batch),
            "timestamp_field": getattr(source, "timestamp_field", "") or "",
            "created": getattr(source, "created_timestamp_column", "") or "",
            "mapping": dict(getattr(source, "field_mapping", None) or {}),
        }
        if kind != "FileSource":
            return fields
        path = source.path
        local = None if "://" in path and not path.startswith("file://") else path.removeprefix("file://")
        if local is not None:
            local = os.path.normpath(self._folder / local)
        try:
            columns = [[name, kind] for name, kind in source.get_table_column_names_and_types(self._config)]
            unreadable = ""
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            columns, unreadable = [], last_line(error)
        return {
            **fields,
            "path": local or path,
            "local": local is not None,
            "is_folder": local is not None and Path(local).is_dir(),
            "format": type(source.file_format).__name__ if source.file_format else "ParquetFormat",
            "endpoint": source.file_options.s3_endpoint_override or "",
            "columns": columns,
            "unreadable": unreadable,
        }

    def on_demand(self, view: Any) -> dict[str, Any]:
        requests = view.source_request_sources.values()
        return {
            **described(view),
            "mode": str(getattr(view.mode, "value", view.mode)),
            "request": [field(request_field) for request in requests for request_field in request.schema],
            "inputs": [projection(projected) for projected in view.source_feature_view_projections.values()],
            "fields": [field(feature) for feature in view.features],
            "source": getattr(view.feature_transformation, "udf_string", "") or view.udf_string or "",
            "names": self._names(getattr(view.feature_transformation, "udf", None) or view.udf),
            "singleton": bool(getattr(view, "singleton", False)),
            "aggregates": bool(getattr(view, "aggregations", None)),
            "stored": bool(getattr(view, "write_to_online_store", False)),
            "enabled": getattr(view, "enabled", True),
        }

    def _names(self, function: Any) -> list[dict[str, str]]:
        """What the module of the function has for it."""
        outside = getattr(function, "__globals__", {})
        used, codes = set(), [function.__code__] if outside else []
        while codes:
            code = codes.pop()
            used.update(code.co_names)
            codes += [constant for constant in code.co_consts if hasattr(constant, "co_names")]
        return [
            {"name": name, "definition": self._definition(name, outside[name])}
            for name in sorted(used)
            if name in outside and not name.startswith("__")
        ]

    def _definition(self, name: str, value: Any) -> str:
        """A line that gives the same anywhere; "" if only the repository has it."""
        if value is None or type(value) in (bool, int, str) or (type(value) is float and value - value == 0):
            return f"{name} = {value!r}"
        module = value if isinstance(value, ModuleType) else sys.modules.get(getattr(value, "__module__", ""))
        origin = getattr(module, "__file__", None)
        if module is None or (origin and Path(origin).resolve().is_relative_to(self._folder)):
            return ""
        if module is value:
            renamed = "" if module.__name__ == name else f" as {name}"
            return f"import {module.__name__}{renamed}"
        attribute = getattr(value, "__name__", "")
        if getattr(module, attribute, None) is not value:
            return ""
        renamed = "" if attribute == name else f" as {name}"
        return f"from {module.__name__} import {attribute}{renamed}"


def all_of(sources: Any, more: Any) -> list[Any]:
    """Each once, by identity."""
    return list({id(source): source for source in (*sources, *more)}.values())


def described(thing: Any) -> dict[str, Any]:
    return {
        "name": thing.name,
        "description": getattr(thing, "description", "") or "",
        "owner": getattr(thing, "owner", "") or "",
        "tags": dict(getattr(thing, "tags", None) or {}),
    }


def entity(entity: Any) -> dict[str, Any]:
    return {**described(entity), "join_key": entity.join_key, "type": entity.value_type.name}


def field(field: Any) -> dict[str, Any]:
    return {
        "name": field.name,
        "type": str(field.dtype),
        "description": getattr(field, "description", "") or "",
        "tags": dict(getattr(field, "tags", None) or {}),
        "vector": bool(getattr(field, "vector_index", False)),
    }


def service(service: Any) -> dict[str, Any]:
    parts = [projection(projected) for projected in service.feature_view_projections]
    for text in getattr(service, "_pending_feature_refs", None) or ():
        view, _, feature = text.partition(":")
        name, _, version = view.partition("@")
        parts.append(
            {
                "view": name,
                "alias": "",
                "keys": {},
                "features": [feature] if feature else None,
                "version": version,
            }
        )
    return {**described(service), "features": parts, "logged": bool(getattr(service, "logging_config", None))}


def projection(projection: Any) -> dict[str, Any]:
    wanted = [feature.name for feature in projection.features] or list(projection.desired_features)
    version = getattr(projection, "version_tag", None)
    return {
        "view": projection.name,
        "alias": projection.name_alias or "",
        "keys": dict(projection.join_key_map or {}),
        # Of a view without a schema it is not known yet what its features are: all are meant.
        "features": wanted or None,
        "version": "" if version is None else str(version),
    }


def pinned(view: Any) -> str:
    version = str(getattr(view, "version", "latest") or "latest")
    return "" if version.lower() == "latest" else version


def settings_of(store: Any) -> dict[str, Any]:
    """The settings of the online store that are plain values."""
    fields = store if isinstance(store, dict) else getattr(store, "__dict__", {})
    return {name: str(getattr(value, "value", value)) for name, value in fields.items() if value is not None}


def last_line(error: BaseException) -> str:
    return traceback.format_exception_only(type(error), error)[-1].strip()


def place(error: BaseException, folder: Path) -> str:
    """The file of the repository, and the line, where it was raised."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    inside = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(folder)
    ]
    return f"{inside[-1].filename}:{inside[-1].lineno}" if inside else str(folder)


def main() -> None:
    folder, output = Path(sys.argv[1]), Path(sys.argv[2])
    # As Feast's own commands do it: modules of a repository import each other by their paths in it.
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    output.write_text(json.dumps(read(folder)))


if __name__ == "__main__":
    main()
