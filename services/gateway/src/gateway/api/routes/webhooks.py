"""Webhooks from TikTok.

No limit per address: checking a signature costs less than counting, only TikTok's own webhooks get any further, and behind a
proxy that is not in TRUSTED_PROXIES a stranger's requests would use up TikTok's share.
"""

from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Request, Response

from common.contracts.context import Context
from common.errors import Problem
from common.http.identity import MAX_USER_AGENT_CHARS
from common.http.request_id import request_id_of
from common.telemetry.tracing import current_traceparent
from gateway.api.callers import anonymous
from gateway.api.documents import NO_AUTHENTICATION, parameters, problems
from gateway.api.models.webhooks import TikTokWebhook, WebhookTaken
from gateway.api.whole_body import whole_body
from gateway.edge import edge_of
from gateway.usecases.receive_webhook import ACTOR
from tiktok.webhooks import MAX_BODY_BYTES, SIGNATURE_HEADER

PATH = "/api/v1/webhooks/tiktok"
BODIES = (TikTokWebhook,)
_SIGNATURE = {
    "name": SIGNATURE_HEADER,
    "in": "header",
    "required": True,
    "description": "`t=<Unix seconds>,s=<hex HMAC-SHA256 of t, a dot and the raw body, with the client secret>`",
    "schema": {"type": "string"},
}
_BODY = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/TikTokWebhook"}}}, "required": True}

router = APIRouter(tags=["tiktok"])
log = structlog.get_logger(__name__)


@router.post(
    PATH,
    response_model=WebhookTaken,
    responses=problems(401, 403, 408, 413),
    openapi_extra=parameters(_SIGNATURE) | {"requestBody": _BODY} | NO_AUTHENTICATION,
)
async def tiktok_webhook(request: Request, _: Annotated[None, Depends(anonymous)]) -> WebhookTaken | Response:
    """Take a webhook: 200 once it is stored for everyone who follows events; anything else makes TikTok send it again."""
    webhooks = edge_of(request).webhooks
    webhooks.check_configured()
    body = await whole_body(request, max_bytes=MAX_BODY_BYTES)
    try:
        envelope = await webhooks.receive(request.headers.getlist(SIGNATURE_HEADER), body, _context(request))
    except Problem as problem:
        log.warning("webhook_refused", code=problem.code, detail=problem.detail, client_ip=request.state.client_ip)
        raise
    log.info("webhook_received", id=str(envelope.id), event_name=envelope.data["event"])
    return WebhookTaken(id=envelope.id)


def _context(request: Request) -> Context:
    agent = request.headers.get("user-agent", "")[:MAX_USER_AGENT_CHARS].encode("ascii", "replace").decode()
    return Context(
        actor=ACTOR,
        client_ip=request.state.client_ip,
        user_agent=agent or None,
        correlation_id=request_id_of(request),
        traceparent=current_traceparent(),
    )
