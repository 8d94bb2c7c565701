"""The OpenAPI 3.1 document of the routes, from their models."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from pydantic.json_schema import models_json_schema

from featurestore.server.problem_details import PROBLEM_JSON, ProblemDetails
from featurestore.server.route import ARROW_STREAM, JSON, Route


def openapi(routes: Iterable[Route]) -> dict[str, Any]:
    """The document as plain values."""
    routes = list(routes)
    taken = [(route.takes, "validation") for route in routes if route.takes is not None]
    given = [
        (model, "serialization") for route in routes for model in route.gives.values() if model is not None
    ]
    models: list[Any] = list(dict.fromkeys([*taken, *given, (ProblemDetails, "serialization")]))
    references, definitions = models_json_schema(models, ref_template="#/components/schemas/{model}")
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, references)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "featurestore",
            "description": "Features for inference.",
            "version": version("featurestore"),
        },
        "paths": paths,
        "components": {"schemas": definitions.get("$defs", {})},
    }


def _operation(route: Route, references: Mapping[Any, Any]) -> dict[str, Any]:
    content = {
        media: {} if model is None else {"schema": references[model, "serialization"]}
        for media, model in route.gives.items()
    }
    answers: dict[str, Any] = {"200": {"description": "Done", "content": content}}
    if route.not_now is not None:
        answers[str(route.not_now)] = {"description": "Not now", "content": content}
    problem = {PROBLEM_JSON: {"schema": references[ProblemDetails, "serialization"]}}
    for status in route.may_fail:
        answers[str(status)] = {"description": HTTPStatus(status).phrase, "content": problem}
    operation: dict[str, Any] = {"operationId": route.name, "summary": route.summary, "responses": answers}
    if route.takes is not None:
        schema = references[route.takes, "validation"]
        body: dict[str, Any] = {JSON: {"schema": schema}, **({ARROW_STREAM: {}} if route.takes_arrow else {})}
        operation["requestBody"] = {"required": True, "content": body}
    parameters = [("path", name) for name in re.findall(r"{(\w+)}", route.path)]
    parameters += [("header", route.header)] if route.header else []
    if parameters:
        operation["parameters"] = [
            {"name": name, "in": place, "required": True, "schema": {"type": "string"}}
            for place, name in parameters
        ]
    return operation
