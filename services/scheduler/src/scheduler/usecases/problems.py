"""Refusals that clients are told about."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from common.clock import rfc3339
from common.errors import FieldError, Problem
from scheduler.domain.finding import Finding
from scheduler.domain.post import Post

MAX_NAMED = 5
STILL_PROCESSING_AGAIN_SECONDS = 300
"""TikTok's processing takes minutes; its moderation may take hours."""


def problem_of(findings: Sequence[Finding]) -> Problem:
    """Return the refusal of broken rules: the rule's own status and code, or 422 `invalid_post` where different ones are broken."""
    first = findings[0]
    errors = [FieldError(item.field, item.code, item.message, item.hint) for item in findings]
    alternatives = next((list(item.alternatives) for item in findings if item.alternatives), None)
    extra: dict[str, Any] = {"alternatives": alternatives} if alternatives else {}
    if any(item.code != first.code for item in findings):
        return Problem(422, "invalid_post", f"The post breaks {len(findings)} rules.", errors=errors, extra=extra)
    headers = {"Retry-After": str(first.retry_after)} if first.retry_after is not None else None
    return Problem(
        first.status,
        first.code,
        first.message,
        hint=first.hint,
        errors=errors,
        extra=extra | first.extra,
        headers=headers,
    )


def finding_of(problem: Problem, field: str) -> Finding:
    """Return a refusal as a broken rule of `field`, to be told together with others."""
    return Finding(field, problem.code, problem.detail, problem.hint, status=problem.status)


def hint_of_unconfirmed(post: Post) -> str:
    """Return what to do about a post whose outcome is not known: something may still come of what TikTok fetches itself."""
    wait = " an hour later at the earliest" if post.is_fetched_by_tiktok else ""
    return f"Look at TikTok first, then confirm it, or retry it{wait}."


def post_not_found() -> Problem:
    """Return the 404 of a post that does not exist or is another user's."""
    return Problem(404, "post_not_found", "There is no such post.", hint="GET /posts lists your posts.")


def post_changed() -> Problem:
    """Return the 409 of a post that another request changed at the same moment in a way that matters to this one."""
    return Problem(
        409, "post_changed", "The post was changed by another request at the same moment.", hint="Look at it and try again."
    )


def overtaken() -> Problem:
    """Return the 409 of a request that runs after what its sender knew nothing of."""
    return Problem(
        409,
        "post_changed",
        "The post has changed since this request was sent.",
        hint="Look at it; if this is still wanted, send it again.",
    )


def media_not_found() -> Problem:
    """Return the 404 of a file that does not exist or is another user's."""
    return Problem(404, "media_not_found", "There is no such media file.", hint="GET /media lists your files.")


def account_not_found() -> Problem:
    """Return the 404 of an account that does not exist, was disconnected or is another user's."""
    return Problem(
        404,
        "account_not_found",
        "There is no such TikTok account.",
        hint="GET /accounts lists the connected accounts.",
    )


def account_required(active: int) -> Problem:
    """Return the 422 of an account left out although there is not exactly one active account."""
    message = f"tiktok_account_id may be left out only with exactly one active account; there are {active}."
    return Problem(
        422,
        "account_required",
        message,
        hint="Give tiktok_account_id." if active else "Connect a TikTok account first.",
        errors=[FieldError("tiktok_account_id", "account_required", message)],
    )


def accounts_unavailable() -> Problem:
    """Return the 503 while the accounts service cannot be asked for something that must be known."""
    return Problem(
        503,
        "accounts_unavailable",
        "The accounts cannot be looked up at the moment.",
        hint="Try again in a moment.",
        headers={"Retry-After": "1"},
    )


def cancel_undecided() -> Problem:
    """Return the 503 while the publisher, who decides about a due post, did not answer: it may have decided all the same."""
    return Problem(
        503,
        "cancel_undecided",
        "Whether the post can still be stopped could not be found out; it may have been stopped all the same.",
        hint="Look at the post, or try again in a moment.",
        headers={"Retry-After": "1"},
    )


def cancel_under_way() -> Problem:
    """Return the 503 while TikTok is asked to give up its fetch: its status decides."""
    return Problem(
        503,
        "cancel_undecided",
        "TikTok fetches this post by itself and was asked to give that up; whether it did is known in a moment.",
        hint="Look at the post in a moment: it is cancelled when TikTok gave it up.",
        headers={"Retry-After": "2"},
    )


def retry_undecided() -> Problem:
    """Return the 503 while TikTok cannot be asked once more whether a post that may be live is there."""
    return Problem(
        503,
        "retry_undecided",
        "Before another attempt TikTok is asked once more whether this post is there, and that could not be done just now.",
        hint="Try again in a moment; nothing has been changed.",
        headers={"Retry-After": "5"},
    )


def retry_too_early(until: datetime, *, now: datetime) -> Problem:
    """Return the 409 of a post whose owner cannot know yet that it was not published; `retry_at` in it is `until`."""
    seconds = max(math.ceil((until - now).total_seconds()), 1)
    moment = f"{until.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return Problem(
        409,
        "retry_too_early",
        "TikTok was asked to publish this post and did not say what became of that: something may still come of it.",
        hint=f"Look into the TikTok profile, or inbox, after {moment}; if the post is not there, retry it then.",
        headers={"Retry-After": str(seconds)},
        extra={"retry_at": rfc3339(until)},
    )


def still_processing(until: datetime, *, now: datetime) -> Problem:
    """Return the 409 of a post that TikTok still works on; `retry_at` in it is `until`, from when on its owner's word counts.

    `Retry-After` is sooner: TikTok may end it at any time.
    """
    seconds = max(math.ceil((until - now).total_seconds()), 1)
    moment = f"{until.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return Problem(
        409,
        "still_processing",
        "TikTok has this post and says that it still works on it, so it may be published at any time.",
        hint="Nothing to do: the post ends by itself as soon as TikTok says how. "
        f"Should TikTok say so until {moment}, your word counts after that; if you see the video at TikTok, confirm the post.",
        headers={"Retry-After": str(min(seconds, STILL_PROCESSING_AGAIN_SECONDS))},
        extra={"retry_at": rfc3339(until)},
    )


def possible_videos(videos: Sequence[tuple[str, str | None]]) -> Problem:
    """Return the 409 of a post that may be one of these videos, each id with its address, while its owner has not named all."""
    count = len(videos)
    named = ", ".join(video_id for video_id, _ in videos[:MAX_NAMED])
    which = f"{count} videos on the profile look" if count > 1 else "A video on the profile looks"
    return Problem(
        409,
        "possible_videos",
        f"{which} like this post, so trying again might publish it twice: {named}{', ...' if count > MAX_NAMED else ''}.",
        hint="Look at each of possible_videos. If one is this post, confirm the post with its id. If none is, send "
        '{"confirm_not_published": true, "not_videos": [...]} with the ids of all of them.',
        extra={"possible_videos": [{"id": video_id, "url": url} for video_id, url in videos]},
    )


def too_late_to_cancel(status: str) -> Problem:
    """Return the 409 of a post on its way, or of one that ended while it was to be stopped."""
    if status == "failed":
        return Problem(
            409,
            "too_late_to_cancel",
            "The post failed before it could be cancelled; it is not tried again by itself.",
            hint="DELETE it again to take it off the lists.",
        )
    return Problem(
        409,
        "too_late_to_cancel",
        f"The post is {status}: its video is already on the way to TikTok, or there.",
        hint="Delete it in the TikTok app once it is published.",
    )
