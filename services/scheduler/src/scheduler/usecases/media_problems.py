"""Refusals about files of the library."""

from collections.abc import Sequence
from uuid import UUID

from common.errors import Problem


def media_not_ready() -> Problem:
    """Return the 409 of a file that is still being checked."""
    return Problem(
        409,
        "media_not_ready",
        "The file is still being checked.",
        hint="Try again in a second.",
        headers={"Retry-After": "1"},
    )


def media_in_use(posts: Sequence[UUID]) -> Problem:
    """Return the 409 of a file that posts still need; `posts` are some of them."""
    return Problem(
        409,
        "media_in_use",
        "A post that is not published yet needs the file.",
        hint="Delete the posts in post_ids, or wait until they are published.",
        extra={"post_ids": [str(post) for post in posts]},
    )
