"""``/models/NAME``: versions of a model, and what each was trained on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote

from featurestore.overview.overview import Key
from featurestore.server.page.rendering import html_reply
from featurestore.server.page.visible_store import SERVICE, TRAINING_SET, VisibleStore, page, place, see
from featurestore.server.problem_details import HttpProblem
from featurestore.server.route import HttpRequest, Reply
from featurestore.training.trained_models import TrainedModel


@dataclass(frozen=True, slots=True)
class ModelLine:
    """A model and where its page is, and those of its training set and service ("" if there is none to be seen)."""

    model: TrainedModel
    link: str
    training_set: str
    service: str


def model_lines(models: Iterable[TrainedModel], visible: VisibleStore) -> list[ModelLine]:
    """A line for each, in their order."""

    def link(key: Key) -> str:
        item = visible.overview.items.get(key)
        return place(item) if item else ""

    return [
        ModelLine(
            model,
            f"/models/{quote(model.name, safe='')}",
            link((TRAINING_SET.name, model.training_set)),
            link((SERVICE.name, model.service)) if model.service else "",
        )
        for model in models
    ]


def _make(request: HttpRequest) -> Reply:
    visible, name = see(request), request.parts["name"]
    sets = [item.name for item in visible.overview.of(TRAINING_SET)]
    noted = request.backend.lookout.models(sets)
    lines = model_lines([model for model in noted.models if model.name == name], visible)
    if not lines:
        qualifier = " that you may see" if visible.is_guarded else ""
        raise HttpProblem(
            HTTPStatus.NOT_FOUND, f"no model {name!r}{qualifier} was logged with a training set of this store"
        )
    return html_reply(request, "model.html", name=name, models=lines, damaged=len(noted.damaged))


PAGE = page("/models/{name}", "page_model", "One model", _make)
