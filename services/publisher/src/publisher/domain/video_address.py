"""Where TikTok shows what was published."""

from publisher.domain.job import Transfer


def video_address(transfer: Transfer, username: str | None, video_id: str | None) -> str | None:
    """Return the public address of a video or of photos, None while their id or creator is not known."""
    kind = "photo" if transfer is Transfer.PHOTO else "video"
    return None if video_id is None or not username else f"https://www.tiktok.com/@{username}/{kind}/{video_id}"
