"""The file of a post is gone from our own storage, or is not the one the post was made with: what the post is told."""

from publisher.domain.outcomes import Fail, Reason

MEDIA_MISSING = Fail(
    Reason("media_missing", "The file of this post is gone or has changed.", "Upload it again and create a new post."),
    retryable=False,
)
FETCHED_MISSING = Fail(
    Reason("fetched_file_missing", "The copy of the video that was fetched from its address is gone; nothing was published."),
    retryable=True,
)
"""The next attempt fetches it anew; this one may send no other bytes than those it has noted the sha256 of."""


def missing(*, is_fetched: bool) -> Fail:
    """Return the end of a job whose file is gone; `is_fetched` when it came from the post's address."""
    return FETCHED_MISSING if is_fetched else MEDIA_MISSING
