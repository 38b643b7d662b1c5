"""`/internal/posts/validate`: the checks of creation as a question."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from common.auth.claims import UserClaims
from common.clock import utc_now
from common.contracts.scheduler import PostFields
from common.database.database import Database
from common.http.identity import require_scope
from common.http.json_response import json_response
from scheduler.encoding import finding_json, warning_json
from scheduler.usecases.surroundings import Surveyor
from scheduler.usecases.validate_post import validate_post as judge_alone

Writer = Annotated[UserClaims, Depends(require_scope("posts:write"))]


def validation_router(database: Database, surveyor: Surveyor, allowed_hosts: frozenset[str]) -> APIRouter:
    """Return the route."""
    router = APIRouter(prefix="/internal/posts", tags=["posts"])

    @router.post("/validate")
    async def validate_post(fields: PostFields, user: Writer) -> Response:
        """Tell every rule the post would break, and the warnings it would carry; nothing is stored."""
        judged = await judge_alone(database, surveyor, fields, user.user_id, now=utc_now(), allowed_hosts=allowed_hosts)
        body = {
            "valid": not judged.findings,
            "problems": [finding_json(finding) for finding in judged.findings],
            "warnings": [warning_json(finding) for finding in judged.shown_warnings],
        }
        return json_response(body)

    return router
