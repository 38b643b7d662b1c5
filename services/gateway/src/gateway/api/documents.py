"""What the OpenAPI document says beyond the routes themselves: bodies, parameters, problems, authentication."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from common.http.json_response import PROBLEM_TYPE
from gateway.api.documented_rights import document_rights
from gateway.api.models.shared import PendingOperation, ProblemBody

_REF = "#/components/schemas/{model}"
_PROBLEM = {PROBLEM_TYPE: {"schema": {"$ref": _REF.format(model=ProblemBody.__name__)}}}
_DESCRIPTIONS = {
    400: "The request cannot be read, or the other side refused.",
    401: "No valid access token.",
    403: "The API key lacks the scope.",
    404: "Not there, or not yours.",
    408: "The body did not arrive in time.",
    409: "It conflicts with the state of things.",
    412: "Changed since the version that If-Match names.",
    413: "Too large.",
    415: "A type of content that is not taken here.",
    416: "The range lies outside the object.",
    422: "Invalid input; `errors` names each field.",
    429: "Too many requests; `Retry-After` says when to come back.",
    502: "TikTok is away or refused.",
    503: "A part of the system is away or full; nothing has happened. `Retry-After` says when to come back.",
}

Json = dict[str, Any]
Responses = dict[int | str, Json]


def problems(*statuses: int) -> Responses:
    """Return the `responses` of a route: the given problem statuses, and those that any route may answer with."""
    every = sorted({*statuses, 422, 429, 503})
    return {status: {"description": _DESCRIPTIONS[status], "content": _PROBLEM} for status in every}


def accepted() -> Responses:
    """Return the 202 of a command whose answer takes longer than a request should."""
    return {202: {"model": PendingOperation, "description": "Stored; it will happen. `Location` tells the answer."}}


def accepted_or(model: type[BaseModel]) -> Responses:
    """Return the 202 of a command that is answered with 202 and `model` in time, else as `accepted` says."""
    schema = {"oneOf": [{"$ref": _REF.format(model=one.__name__)} for one in (model, PendingOperation)]}
    described = "Done as asked, or stored to happen: then `Location` tells the answer."
    return {202: {"description": described, "content": {"application/json": {"schema": schema}}}}


def body(model: type[BaseModel], *, required: bool = True) -> Json:
    """Return the `openapi_extra` of a JSON body that the route reads itself."""
    schema = {"$ref": _REF.format(model=model.__name__)}
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


def file_body() -> Json:
    """Return the `openapi_extra` of an upload."""
    schema = {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "string", "format": "binary"}},
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def query(name: str, description: str, **schema: Any) -> Json:
    """Return a query parameter that the owning service checks."""
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema or {"type": "string"}}


def paging(default: int, maximum: int) -> tuple[Json, Json]:
    """Return the parameters of a list."""
    return (
        query("limit", "Items per page.", type="integer", minimum=1, maximum=maximum, default=default),
        query("cursor", "From the page before."),
    )


def texts(description: str, *types: str) -> Responses:
    """Return the 200 of an answer that is text of these media types; of a route with a model, beside its JSON."""
    return {200: {"description": description, "content": {kind: {"schema": {"type": "string"}} for kind in types}}}


def parameters(*items: Json) -> Json:
    """Return the `openapi_extra` of query parameters and headers."""
    return {"parameters": list(items)}


IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "1 to 255 visible ASCII characters; the same key again gets the same answer and has no second effect.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}

IF_MATCH: Json = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "The ETag of the version to change; another version is refused with 412.",
    "schema": {"type": "string"},
}

NO_AUTHENTICATION: Json = {"security": []}


def install_openapi(app: FastAPI, *, public_url: str, models: Sequence[type[BaseModel]]) -> None:
    """Make the app's document complete: `models` are those that only bodies and problems refer to."""
    described: Json = {}

    def openapi() -> Json:
        if not described:
            described.update(_document(app, public_url, models))
        return described

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way to extend the document


def _document(app: FastAPI, public_url: str, models: Sequence[type[BaseModel]]) -> Json:
    document = get_openapi(
        title=app.title,
        version=app.version,
        description="Publishes TikTok videos for many accounts: upload, schedule, follow.",
        routes=app.routes,
        servers=[{"url": public_url}],
    )
    wanted: list[type[BaseModel]] = [ProblemBody, *models]
    _, definitions = models_json_schema([(model, "validation") for model in wanted], ref_template=_REF)
    components = document.setdefault("components", {})
    schemas: Json = components.setdefault("schemas", {})
    for name, schema in definitions["$defs"].items():
        schemas.setdefault(name, schema)
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "An access token, or an API key (`cpk_...`)."}
    }
    document["security"] = [{"bearer": []}]
    document_rights(document, app.routes)
    return document
