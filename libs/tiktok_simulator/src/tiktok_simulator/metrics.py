"""Counters of a post: they rise with its age towards a number that the post's id decides."""

import hashlib

MIN_VIEWS, MAX_VIEWS = 400, 60_000


def counters(post_id: str, age: float, half_life: float) -> dict[str, int]:
    """Return views, likes, comments and shares of a post ``age`` seconds old; they never fall.

    Half of all views a post will ever have come within ``half_life`` seconds.
    """
    digest = hashlib.sha256(post_id.encode()).digest()
    parts = [int.from_bytes(digest[start : start + 4]) / 2**32 for start in range(0, 16, 4)]
    views_at_last = MIN_VIEWS * (MAX_VIEWS / MIN_VIEWS) ** parts[0]
    views = views_at_last * (1.0 - 0.5 ** (max(0.0, age) / half_life))
    return {
        "view_count": int(views),
        "like_count": int(views * (0.03 + 0.12 * parts[1])),
        "comment_count": int(views * (0.001 + 0.01 * parts[2])),
        "share_count": int(views * (0.0005 + 0.008 * parts[3])),
    }
