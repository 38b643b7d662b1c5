"""Requests that change something: the body becomes a command, the reply a response."""

from typing import TypeVar
from uuid import UUID

from fastapi import Request, Response
from pydantic import BaseModel, ValidationError

from common.contracts.message import Command
from common.errors import FieldError, Problem
from common.http.identity import request_context
from common.http.json_response import JSON_TYPE, PROBLEM_TYPE, json_response
from common.http.problems import field_errors
from common.http.request_id import request_id_of
from common.ids import uuid7
from common.messaging.reply import Reply
from gateway.domain.command_identity import is_valid_idempotency_key, keyed_command_id, request_hash
from gateway.domain.if_match import MalformedIfMatch, parse_if_match
from gateway.domain.operation_id import Scope
from gateway.edge import edge_of
from gateway.security.authenticator import Caller
from gateway.usecases.run_command import Accepted, CommandIdentity

OPERATIONS_PATH = "/api/v1/operations"
_REPLY_HEADERS = {"etag", "retry-after", "location"}

ModelT = TypeVar("ModelT", bound=BaseModel)


async def read_body(request: Request, model: type[ModelT]) -> ModelT:
    """Return the JSON body as `model`, strictly: no unknown fields, no conversions.

    Raises `Problem` 415 for a body declared as something else, 422 `invalid_request` naming each wrong field.
    """
    content_type = request.headers.get("content-type", JSON_TYPE)
    if "json" not in content_type.lower():
        raise Problem(
            415, "unsupported_media_type", "The body must be JSON.", hint="Send the header Content-Type: application/json."
        )
    try:
        return model.model_validate_json(await request.body(), strict=True)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        if any(item["type"] == "json_invalid" for item in found):
            invalid = FieldError("body", "json_invalid", "The body is not valid JSON.")
            raise Problem(422, "invalid_request", "The body is not valid JSON.", errors=[invalid]) from None
        raise Problem(422, "invalid_request", "The request is not valid.", errors=field_errors(found)) from None


def identity_of(request: Request, user_id: UUID, *, body: bytes) -> CommandIdentity:
    """Return the command's id and the hash of the request.

    The id follows from (user, method, path, Idempotency-Key) when the client sent that header, else it is new. Raises `Problem`
    422 `invalid_idempotency_key`.
    """
    hashed = request_hash(query=request.scope["query_string"], body=body, if_match=_if_match(request))
    keys = request.headers.getlist("idempotency-key")
    if not keys:
        return CommandIdentity(uuid7(), hashed)
    key = keys[0]
    if len(keys) > 1 or not is_valid_idempotency_key(key):
        detail = "An Idempotency-Key is 1 to 255 visible ASCII characters, sent once."
        raise Problem(422, "invalid_idempotency_key", detail, errors=[FieldError("Idempotency-Key", "invalid", detail)])
    return CommandIdentity(keyed_command_id(user_id, request.method, request.scope["path"], key), hashed, is_keyed=True)


def wanted_versions(request: Request) -> list[str] | None:
    """Return the versions that If-Match names, None for any; raises `Problem` 422 `invalid_if_match`."""
    try:
        return parse_if_match(_if_match(request))
    except MalformedIfMatch:
        detail = 'If-Match is an ETag such as "3", a list of them, or *.'
        raise Problem(422, "invalid_if_match", detail, errors=[FieldError("If-Match", "invalid", detail)]) from None


def _if_match(request: Request) -> str | None:
    """Return the header, its lines joined as RFC 9110 says."""
    lines = request.headers.getlist("if-match")
    return ", ".join(lines) if lines else None


async def command(
    request: Request, caller: Caller, message: Command, *, scope: Scope, subject: UUID | None = None
) -> Response:
    """Run a command for this request and return the response; raises `Problem` as `Commands.run` and `identity_of` do."""
    user_id = caller.claims.user_id
    answer = await edge_of(request).commands.run(
        message,
        user_id=user_id,
        scope=scope,
        identity=identity_of(request, user_id, body=await request.body()),
        context=request_context(request),
        subject=str(subject) if subject is not None else None,
    )
    return answered(request, answer)


def answered(request: Request, answer: Reply | Accepted) -> Response:
    """Return the response of a reply, or 202 with the operation's address."""
    if isinstance(answer, Accepted):
        location = f"{OPERATIONS_PATH}/{answer.operation_id}"
        body = {"status": "pending", "operation_id": answer.operation_id, "location": location}
        return json_response(body, status=202, headers={"Location": location, "Retry-After": "1"})
    headers = {name: value for name, value in answer.headers.items() if name.lower() in _REPLY_HEADERS}
    if answer.body is None:
        return Response(status_code=answer.status, headers=headers)
    if answer.status < 400:
        return json_response(answer.body, status=answer.status, headers=headers)
    problem = {**answer.body, "request_id": request_id_of(request)}
    return json_response(problem, status=answer.status, headers=headers, media_type=PROBLEM_TYPE)
