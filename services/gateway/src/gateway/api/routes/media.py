"""The media library: uploads are streamed into object storage, contents streamed out of it."""

from typing import Annotated
from uuid import UUID

import httpx
from fastapi import APIRouter, Depends, Request, Response
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from common.contracts.scheduler import DeleteMedia
from common.errors import Problem
from common.http.client import ServiceFailure
from common.http.identity import request_context
from common.http.paging import Page
from common.messaging.reply import Reply
from gateway.api.callers import allowed, forwarded_headers
from gateway.api.commanding import answered, command, identity_of
from gateway.api.content import StoredMedia, content_response
from gateway.api.documents import IDEMPOTENCY_KEY, Json, Responses, accepted, file_body, paging, parameters, problems, query
from gateway.api.forwarding import forward, passed_on
from gateway.api.incoming_file import IncomingFile
from gateway.api.large_body import PATIENCE_SECONDS
from gateway.api.models.media import Media
from gateway.edge import edge_of
from gateway.security.authenticator import Caller
from gateway.usecases.run_command import Accepted, CommandIdentity
from gateway.usecases.store_upload import StoredUpload
from gateway.usecases.upload_media import Upload, upload_media

router = APIRouter(prefix="/api/v1/media", tags=["media"])
Reader = Annotated[Caller, Depends(allowed("posts:read"))]
Writer = Annotated[Caller, Depends(allowed("media:write"))]

UPLOAD_PATH = "/api/v1/media/upload"


def _content(media_type: str) -> Responses:
    body: Json = {"content": {media_type: {"schema": {"type": "string", "format": "binary"}}}}
    found: Responses = {
        200: body,
        206: {"description": "The range asked for.", **body},
        304: {"description": "The client has it already."},
    }
    return problems(401, 403, 404, 416) | found


@router.post(
    "/upload",
    status_code=201,
    response_model=Media,
    responses=accepted() | problems(400, 401, 403, 408, 413, 415),
    openapi_extra=file_body() | parameters(IDEMPOTENCY_KEY),
)
async def upload(request: Request, caller: Writer) -> Response:
    """Upload a video or photo as the form field `file`; it is streamed, checked and probed."""
    edge = edge_of(request)
    user_id = caller.claims.user_id
    identity_of(request, user_id, body=b"")
    incoming = IncomingFile(request, pace=edge.upload_pace, max_bytes=edge.upload_max_bytes)
    async with edge.uploads.waited_for(user_id, seconds=PATIENCE_SECONDS):
        try:
            answer = await _take_in(request, user_id, incoming)
        except ClientDisconnect:
            raise Problem(400, "upload_aborted", "The client went away before the body was complete.") from None
    return answered(request, answer)


async def _take_in(request: Request, user_id: UUID, incoming: IncomingFile) -> Reply | Accepted:
    edge = edge_of(request)
    part, blocks = await incoming.open()

    def identify(stored: StoredUpload) -> CommandIdentity:
        body = f"{stored.sha256}\n{stored.content_type}\n{part.filename}".encode()
        return identity_of(request, user_id, body=body)

    return await upload_media(
        edge.store,
        edge.commands,
        Upload(user_id, part.filename, part.content_type, blocks),
        identify=identify,
        context=request_context(request),
        max_bytes=edge.upload_max_bytes,
    )


@router.get(
    "",
    response_model=Page[Media],
    responses=problems(401, 403),
    openapi_extra=parameters(
        *paging(50, 100),
        query("status", "Only files in this state.", type="string", enum=["processing", "ready", "rejected"]),
        query("kind", "Only videos, or only photos.", type="string", enum=["video", "photo"]),
    ),
)
async def list_media(request: Request, caller: Reader) -> Response:
    """List the user's files, newest first."""
    return await forward(request, "scheduler", "/internal/media", caller=caller)


@router.get("/{media_id}", response_model=Media, responses=problems(401, 403, 404))
async def get_media(request: Request, caller: Reader, media_id: UUID) -> Response:
    """Return one file."""
    return await forward(request, "scheduler", f"/internal/media/{media_id}", caller=caller)


@router.delete(
    "/{media_id}",
    status_code=204,
    responses=accepted() | problems(401, 403, 404, 409),
    openapi_extra=parameters(IDEMPOTENCY_KEY),
)
async def delete_media(request: Request, caller: Writer, media_id: UUID) -> Response:
    """Delete a file; refused while a post that is not published yet needs it."""
    return await command(request, caller, DeleteMedia(media_id=media_id), scope="media:write", subject=media_id)


@router.get("/{media_id}/content", response_class=Response, responses=_content("application/octet-stream"))
async def get_media_content(request: Request, caller: Reader, media_id: UUID) -> Response:
    """Return the file's bytes, or one range of them."""
    found = await _stored(request, caller, media_id)
    return found if isinstance(found, Response) else await content_response(request, edge_of(request).store, found.content())


@router.get("/{media_id}/thumbnail", response_class=Response, responses=_content("image/jpeg"))
async def get_media_thumbnail(request: Request, caller: Reader, media_id: UUID) -> Response:
    """Return a small upright JPEG of the file, or one range of its bytes."""
    found = await _stored(request, caller, media_id)
    return found if isinstance(found, Response) else await content_response(request, edge_of(request).store, found.thumbnail())


async def _stored(request: Request, caller: Caller, media_id: UUID) -> StoredMedia | Response:
    """Ask the scheduler where a file's bytes lie; its refusal comes back as the response."""
    answer = await edge_of(request).upstreams.send(
        "scheduler",
        "GET",
        f"/internal/media/{media_id}/objects",
        bearer=caller.token,
        headers=forwarded_headers(request),
    )
    if answer.status_code != httpx.codes.OK:
        return passed_on(answer)
    try:
        return StoredMedia.model_validate_json(answer.content)
    except ValidationError:
        raise ServiceFailure("scheduler answered something that is no media") from None
