"""Where TikTok shows what was published."""

from urllib.parse import quote

from publisher.domain.job import Transfer


def video_address(transfer: Transfer, username: str | None, video_id: str | None) -> str | None:
    """Return the public address of a video or of photos, None while their id or creator is not known.

    Where the grant shows no username, accounts gives the display name, which may be any text.
    """
    if video_id is None or not username:
        return None
    kind = "photo" if transfer is Transfer.PHOTO else "video"
    return f"https://www.tiktok.com/@{quote(username, safe='')}/{kind}/{video_id}"
