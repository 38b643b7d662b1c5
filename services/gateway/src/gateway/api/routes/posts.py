"""Posts: changes go to the scheduler as commands, reads by HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from common.contracts.scheduler import CancelPost, ConfirmPost, PublishPostNow, RetryPost, UpdatePost
from common.http.paging import Page
from gateway.api.bulk_body import CSV_TYPE, read_bulk
from gateway.api.callers import allowed
from gateway.api.commanding import command, read_body, wanted_versions
from gateway.api.documents import IDEMPOTENCY_KEY, IF_MATCH, accepted, accepted_or, body, paging, parameters, problems, query
from gateway.api.forwarding import forward
from gateway.api.large_body import large_body
from gateway.api.models.posts import (
    BulkPosts,
    BulkVerdicts,
    ConfirmBody,
    NewPost,
    Post,
    PostDetail,
    PostPatch,
    PostStatus,
    RetryBody,
    Validation,
)
from gateway.api.models.shared import EmptyBody
from gateway.edge import edge_of
from gateway.security.authenticator import Caller

BULK_PATH = "/api/v1/posts/bulk"
BULK_BODY_LIMIT_BYTES = 8 * 1024 * 1024
"""500 captions of 2,200 units, each six bytes when its client writes JSON with escapes."""
router = APIRouter(prefix="/api/v1/posts", tags=["posts"])
Reader = Annotated[Caller, Depends(allowed("posts:read"))]
Writer = Annotated[Caller, Depends(allowed("posts:write"))]
BODIES = (NewPost, PostPatch, RetryBody, ConfirmBody, BulkPosts, EmptyBody)
_BULK_BODY = body(BulkPosts)
_BULK_BODY["requestBody"]["content"][CSV_TYPE] = {"schema": {"type": "string"}}


@router.post(
    "",
    status_code=201,
    response_model=Post,
    responses=accepted() | problems(401, 403, 404, 409, 413, 415),
    openapi_extra=body(NewPost) | parameters(IDEMPOTENCY_KEY),
)
async def create_post(request: Request, caller: Writer) -> Response:
    """Schedule a post, or save a draft."""
    return await command(request, caller, await read_body(request, NewPost), scope="posts:write")


@router.get(
    "",
    response_model=Page[Post],
    responses=problems(401, 403),
    openapi_extra=parameters(
        *paging(50, 100),
        query("status", "Only posts of this status."),
        query("account_id", "Only posts of this account.", type="string", format="uuid"),
        query("from", "Scheduled at or after.", type="string", format="date-time"),
        query("to", "Scheduled before.", type="string", format="date-time"),
    ),
)
async def list_posts(request: Request, caller: Reader) -> Response:
    """List the user's posts."""
    return await forward(request, "scheduler", "/internal/posts", caller=caller)


@router.get("/{post_id}", response_model=Post, responses=problems(401, 403, 404))
async def get_post(request: Request, caller: Reader, post_id: UUID) -> Response:
    """Return one post; its `ETag` is its version."""
    return await forward(request, "scheduler", f"/internal/posts/{post_id}", caller=caller)


@router.get("/{post_id}/status", response_model=PostStatus, responses=problems(401, 403, 404))
async def get_post_status(request: Request, caller: Reader, post_id: UUID) -> Response:
    """Return where the post stands, and what comes next when."""
    return await forward(request, "scheduler", f"/internal/posts/{post_id}/status", caller=caller)


@router.get("/{post_id}/detail", response_model=PostDetail, responses=problems(401, 403, 404))
async def get_post_detail(request: Request, caller: Reader, post_id: UUID) -> Response:
    """Return the post with its plan, its timeline and its media."""
    return await forward(request, "scheduler", f"/internal/posts/{post_id}/detail", caller=caller)


@router.post("/validate", response_model=Validation, responses=problems(401, 403, 413, 415), openapi_extra=body(NewPost))
async def validate_post(request: Request, caller: Writer) -> Response:
    """Tell every rule that a post would break; nothing is stored."""
    await read_body(request, NewPost)
    return await forward(request, "scheduler", "/internal/posts/validate", caller=caller)


@router.post(
    "/bulk",
    response_model=BulkVerdicts,
    responses=accepted() | problems(400, 401, 403, 408, 413, 415),
    openapi_extra=_BULK_BODY
    | parameters(
        IDEMPOTENCY_KEY,
        query("mode", "For CSV; a member of a JSON body.", type="string", enum=["all_or_nothing", "valid_rows"]),
        query("dry_run", "For CSV; a member of a JSON body.", type="boolean"),
    ),
)
async def create_posts(request: Request, caller: Writer) -> Response:
    """Schedule up to 500 posts, or see what would become of them."""
    user_id = caller.claims.user_id
    async with large_body(request, user_id, edge_of(request).large_bodies, limit_bytes=BULK_BODY_LIMIT_BYTES) as whole:
        return await command(whole, caller, await read_bulk(whole), scope="posts:write")


async def update_post(request: Request, caller: Writer, post_id: UUID) -> Response:
    """Change the given fields of a draft or a scheduled post; `draft: false` schedules a draft."""
    changes = await read_body(request, PostPatch)
    update = UpdatePost(post_id=post_id, changes=changes, if_match=wanted_versions(request))
    return await command(request, caller, update, scope="posts:write", subject=post_id)


for _method in ("PUT", "PATCH"):
    router.add_api_route(
        "/{post_id}",
        update_post,
        methods=[_method],
        operation_id=f"update_post_{_method.lower()}",
        response_model=Post,
        responses=accepted() | problems(401, 403, 404, 409, 412, 413, 415),
        openapi_extra=body(PostPatch) | parameters(IDEMPOTENCY_KEY, IF_MATCH),
    )


@router.delete(
    "/{post_id}",
    status_code=204,
    responses=accepted() | problems(401, 403, 404, 409),
    openapi_extra=parameters(IDEMPOTENCY_KEY),
)
async def cancel_post(request: Request, caller: Writer, post_id: UUID) -> Response:
    """Cancel a waiting post, or take a finished one or a draft off the lists."""
    return await command(request, caller, CancelPost(post_id=post_id), scope="posts:write", subject=post_id)


@router.post(
    "/{post_id}/publish-now",
    status_code=202,
    responses=accepted_or(Post) | problems(401, 403, 404, 409),
    openapi_extra=body(EmptyBody, required=False) | parameters(IDEMPOTENCY_KEY),
)
async def publish_post_now(request: Request, caller: Writer, post_id: UUID) -> Response:
    """Make the post due at once."""
    if await request.body():
        await read_body(request, EmptyBody)
    return await command(request, caller, PublishPostNow(post_id=post_id), scope="posts:write", subject=post_id)


@router.post(
    "/{post_id}/retry",
    status_code=202,
    responses={200: {"model": Post, "description": "Not tried again: it turned out to be published."}}
    | accepted_or(Post)
    | problems(401, 403, 404, 409),
    openapi_extra=body(RetryBody, required=False) | parameters(IDEMPOTENCY_KEY),
)
async def retry_post(request: Request, caller: Writer, post_id: UUID) -> Response:
    """Try a failed post again.

    One that may be live (`unconfirmed`, or `failed` with `webhook_denies_failure`) only when you have seen that it is not at
    TikTok, which is asked once more.
    """
    wish = await read_body(request, RetryBody) if await request.body() else RetryBody()
    retry = RetryPost(
        post_id=post_id,
        confirm_not_published=wish.confirm_not_published,
        not_videos=wish.not_videos,
        allow_duplicate=wish.allow_duplicate,
    )
    return await command(request, caller, retry, scope="posts:write", subject=post_id)


@router.post(
    "/{post_id}/confirm",
    response_model=Post,
    responses=accepted() | problems(401, 403, 404, 409, 413, 415),
    openapi_extra=body(ConfirmBody) | parameters(IDEMPOTENCY_KEY),
)
async def confirm_post(request: Request, caller: Writer, post_id: UUID) -> Response:
    """Settle a post that may be live (`unconfirmed`, or `failed` with `webhook_denies_failure`): you found its video at TikTok."""
    found = await read_body(request, ConfirmBody)
    confirm = ConfirmPost(post_id=post_id, tiktok_video_id=found.tiktok_video_id)
    return await command(request, caller, confirm, scope="posts:write", subject=post_id)
