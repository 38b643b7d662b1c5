"""Operations: the answers of commands that took longer than a request should."""

import httpx
from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from common.clock import utc_now
from common.errors import Problem
from common.http.client import ServiceFailure
from common.http.identity import check_scope
from common.http.json_response import json_response
from common.messaging.reply import Reply
from gateway.api.callers import SignedIn, forwarded_headers
from gateway.api.documents import problems
from gateway.api.forwarding import passed_on
from gateway.api.models.shared import Operation as OperationModel
from gateway.domain.operation_id import decode_operation
from gateway.edge import edge_of

router = APIRouter(prefix="/api/v1/operations", tags=["operations"])


@router.get("/{operation_id}", response_model=OperationModel, responses=problems(401, 403, 404))
async def get_operation(request: Request, caller: SignedIn, operation_id: str) -> Response:
    """Return `pending`, or the answer that the change got; takes the scope that the change took."""
    edge = edge_of(request)
    operation = decode_operation(operation_id, edge.operation_key, now=utc_now())
    if operation is None or operation.user_id != caller.claims.user_id:
        raise Problem(404, "operation_not_found", "There is no such operation.")
    check_scope(caller.claims, operation.scope)
    answer = await edge.upstreams.send(
        operation.service,
        "GET",
        f"/internal/operations/{operation.command_id}",
        bearer=caller.token,
        headers=forwarded_headers(request),
    )
    if answer.status_code == httpx.codes.NOT_FOUND:
        return json_response({"status": "pending", "answer": None}, headers={"Retry-After": "1"})
    if answer.status_code != httpx.codes.OK:
        return passed_on(answer)
    try:
        reply = Reply.model_validate_json(answer.content)
    except ValidationError:
        raise ServiceFailure(f"{operation.service} answered something that is no reply") from None
    return json_response({"status": "done", "answer": reply.model_dump(mode="json")})
