"""What the OpenAPI document says about rights, read off the routes' own dependencies, so that it cannot differ from them."""

from collections.abc import Iterator, Sequence
from typing import Any

from fastapi import APIRouter
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from gateway.api.callers import Right, right_of

SESSION_ONLY = "x-session-only"


def document_rights(document: dict[str, Any], routes: Sequence[BaseRoute]) -> None:
    """Add each operation's scope to its `security`, and `x-session-only` where API keys are refused."""
    for route in _api_routes(routes):
        if route.include_in_schema:
            right = _right(route.dependant)
            for method in route.methods or ():
                _describe(document["paths"][route.path_format][method.lower()], right)


def _api_routes(routes: Sequence[BaseRoute]) -> Iterator[APIRoute]:
    """Yield the routes, those of included routers too: FastAPI keeps a router whole."""
    for route in routes:
        included = getattr(route, "original_router", None)
        if isinstance(route, APIRoute):
            yield route
        elif isinstance(included, APIRouter):
            yield from _api_routes(included.routes)


def _describe(operation: dict[str, Any], right: Right | None) -> None:
    if right is None:
        operation["security"] = []
        return
    operation["security"] = [{"bearer": [right.scope] if right.scope is not None else []}]
    if right.session_only:
        operation[SESSION_ONLY] = True


def _right(dependant: Dependant) -> Right | None:
    """Return the narrowest right that the route's dependencies ask for."""
    found = [right for call in _calls(dependant) if (right := right_of(call)) is not None]
    return max(found, key=lambda right: (right.session_only, right.scope is not None), default=None)


def _calls(dependant: Dependant) -> Iterator[Any]:
    for inner in dependant.dependencies:
        if inner.call is not None:
            yield inner.call
        yield from _calls(inner)
