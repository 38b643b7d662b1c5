"""`/internal/operations/{command_id}`: the stored answer of a command."""

from uuid import UUID

from fastapi import APIRouter, Response

from accounts.api.identity import LiveUser, WiredParts
from accounts.storage.tables import inbox_messages
from common.errors import Problem
from common.http.json_response import json_response
from common.messaging.reply_rows import stored_reply

router = APIRouter(prefix="/internal/operations", tags=["operations"])


@router.get("/{command_id}")
async def show(command_id: UUID, parts: WiredParts, claims: LiveUser) -> Response:
    """Give the reply `{status, body, headers}`; 404 `operation_pending` while there is none (or it is another user's)."""
    async with parts.database.read() as connection:
        reply = await stored_reply(connection, inbox_messages, command_id, claims.user_id)
    if reply is None:
        raise Problem(404, "operation_pending", "There is no answer to this command yet.")
    return json_response(reply.model_dump(mode="json"))
