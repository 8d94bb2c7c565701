"""``/trainingsets/NAME/diff?from=1&to=2``: what changed between two versions of a training set."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import parse_qs

from featurestore.server.page.rendering import html_reply
from featurestore.server.page.visible_store import TRAINING_SET, page, place, see
from featurestore.server.problem_details import HttpProblem
from featurestore.server.route import HttpRequest, Reply
from featurestore.training.version_diff import version_changes

_MOST_FIELDS = 20
_FORM = f"ask /{TRAINING_SET.folder}/NAME/diff?from=VERSION&to=VERSION, each a number or a digest"


def _make(request: HttpRequest) -> Reply:
    item = see(request).item(TRAINING_SET, request.parts["name"])
    try:
        fields = parse_qs(request.query, errors="replace", max_num_fields=_MOST_FIELDS)
        [one], [other] = fields["from"], fields["to"]
    except (KeyError, ValueError) as error:
        raise HttpProblem(HTTPStatus.BAD_REQUEST, f"a difference is of two versions: {_FORM}") from error
    lookout = request.backend.lookout
    old, before = lookout.version(item.name, one)
    new, after = lookout.version(item.name, other)
    changes = list(version_changes(before, after))
    return html_reply(request, "diff.html", item=item, link=place(item), old=old, new=new, changes=changes)


PAGE = page(f"/{TRAINING_SET.folder}/{{name}}/diff", "page_diff", "What changed between two versions", _make)
