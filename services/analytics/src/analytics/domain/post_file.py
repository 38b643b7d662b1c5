"""Posts as files: JSON Lines and CSV with the same fields."""

from collections.abc import Iterable

from analytics.domain.file_formats import Format, Item, csv_rows, json_lines

COLUMNS = (
    *("id", "account_id", "state", "placed_at", "published_at", "tiktok_video_id", "lateness_ms", "error_code"),
    *("view_count", "like_count", "comment_count", "share_count", "measured_at"),
)


def beginning(wanted: Format) -> bytes:
    """Return what stands before the first post."""
    return csv_rows([COLUMNS]) if wanted == "csv" else b""


def written(posts: Iterable[Item], wanted: Format) -> bytes:
    """Return posts as they stand in the file; each has the fields of `COLUMNS` in their order."""
    return csv_rows(post.values() for post in posts) if wanted == "csv" else json_lines(posts)
