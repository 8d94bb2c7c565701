"""A problem as people read it; for whoever has not said who they are, a form to do that."""

from __future__ import annotations

from http import HTTPStatus

from featurestore.server.page.rendering import html_reply
from featurestore.server.problem_details import HttpProblem
from featurestore.server.route import HttpRequest, Reply, problem_headers


def page_problem(request: HttpRequest, problem: HttpProblem) -> Reply:
    """The page that says what went wrong."""
    template = "sign_in.html" if problem.status is HTTPStatus.UNAUTHORIZED else "problem.html"
    headers = problem_headers(problem)
    return html_reply(request, template, status=problem.status, headers=headers, problem=problem)
