"""Operations: the answers of commands that took longer than a request should."""

from datetime import datetime, timedelta

import httpx
from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from common.clock import utc_now
from common.errors import Problem, Transient
from common.http.client import ServiceFailure
from common.http.json_response import json_response
from common.messaging.reply import Reply
from gateway.api.callers import SignedIn, forwarded_headers, require
from gateway.api.documents import problems
from gateway.api.forwarding import passed_on
from gateway.api.models.shared import Operation as OperationModel
from gateway.domain.operation_id import Operation, decode_operation
from gateway.edge import edge_of

router = APIRouter(prefix="/api/v1/operations", tags=["operations"])

LONG = timedelta(minutes=1)
"""After this a change that has no answer yet says what may be done about it."""


@router.get("/{operation_id}", response_model=OperationModel, responses=problems(401, 403, 404))
async def get_operation(request: Request, caller: SignedIn, operation_id: str) -> Response:
    """Return `pending`, or the answer that the change got; takes the scope that the change took.

    `pending`, too, while the service that has the answer, or is to give it, is away.
    """
    edge = edge_of(request)
    now = utc_now()
    operation = decode_operation(operation_id, edge.operation_key, now=now, lifetime=edge.reply_retention)
    if operation is None or operation.user_id != caller.claims.user_id:
        raise Problem(404, "operation_not_found", "There is no such operation.")
    require(request, caller, operation.scope)
    try:
        answer = await edge.upstreams.send(
            operation.service,
            "GET",
            f"/internal/operations/{operation.command_id}",
            bearer=caller.token,
            headers=forwarded_headers(request),
        )
    except Transient:
        return _pending(operation, now)
    # The change was accepted and will run: that its service is away for now is no answer to it, nor a failure of it.
    if answer.status_code in {httpx.codes.NOT_FOUND, httpx.codes.SERVICE_UNAVAILABLE}:
        return _pending(operation, now)
    if answer.status_code != httpx.codes.OK:
        return passed_on(answer)
    try:
        reply = Reply.model_validate_json(answer.content)
    except ValidationError:
        raise ServiceFailure(f"{operation.service} answered something that is no reply") from None
    return json_response({"status": "done", "answer": reply.model_dump(mode="json")})


def _pending(operation: Operation, now: datetime) -> Response:
    """Tell that there is no answer yet, and after a while what may be done about it."""
    hint = None
    if operation.time is None:
        hint = "No answer is known yet, or not any more. The request may be sent again with its Idempotency-Key: it has one effect."
    elif now - operation.time > LONG:
        hint = (
            "The system is behind. Look for the change before you send it again: without an Idempotency-Key it is another one."
        )
    return json_response({"status": "pending", "answer": None, "hint": hint}, headers={"Retry-After": "1"})
