"""`/internal/operations/{command_id}`: the stored answer of a command."""

from uuid import UUID

from fastapi import APIRouter, Response

from common.database.database import Database
from common.errors import Problem
from common.http.identity import CurrentUser
from common.http.json_response import json_response
from common.messaging.reply_rows import stored_reply
from scheduler.storage.tables import inbox


def operations_router(database: Database) -> APIRouter:
    """Return the route."""
    router = APIRouter(prefix="/internal/operations", tags=["operations"])

    @router.get("/{command_id}")
    async def get_operation(command_id: UUID, user: CurrentUser) -> Response:
        """Give the reply `{status, body, headers}`; 404 `operation_pending` while there is none (or it is another user's)."""
        async with database.read() as connection:
            reply = await stored_reply(connection, inbox, command_id, user.user_id)
        if reply is None:
            raise Problem(404, "operation_pending", "There is no answer to this command yet.")
        return json_response(reply.model_dump(mode="json"))

    return router
