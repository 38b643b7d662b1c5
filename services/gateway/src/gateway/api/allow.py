"""405 with a complete `Allow`: routes that share a path know only their own methods."""

from fastapi import FastAPI, Request, Response
from starlette.routing import Match

from common.errors import Problem
from common.http.problems import problem_response
from common.http.request_id import request_id_of
from common.http.request_middleware import METHODS


def install_allow(app: FastAPI) -> None:
    """Make 405 answers name the methods of every route at the address."""
    app.add_exception_handler(405, _on_method_not_allowed)


async def _on_method_not_allowed(request: Request, error: Exception) -> Response:
    del error
    methods = [method for method in sorted(METHODS) if _takes(request, method)]
    problem = Problem(
        405,
        "method_not_allowed",
        "This address does not take this method.",
        headers={"Allow": ", ".join(methods)},
    )
    return problem_response(problem, request_id_of(request))


def _takes(request: Request, method: str) -> bool:
    scope = {**request.scope, "method": "GET" if method == "HEAD" else method}
    return any(route.matches(dict(scope))[0] is Match.FULL for route in request.app.router.routes)
