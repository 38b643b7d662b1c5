"""How many bytes of files one user may have kept."""

from common.database.database import Transaction
from common.errors import Problem
from scheduler.storage.media import NewMedia, media_of_upload
from scheduler.storage.stored_objects import find_twin, stored_bytes


async def require_room(tx: Transaction, new: NewMedia, allowed: int) -> None:
    """Raise Problem 413 `media_quota_exceeded` when an upload would make its user's bytes more than `allowed` (0: any number).

    One that has been noted before has its room already, and content that is kept already needs none. Uploads that are noted at the
    same moment do not see each other.
    """
    if not allowed or await media_of_upload(tx.connection, new.command_id) is not None:
        return
    if await find_twin(tx.connection, new.user_id, new.sha256) is not None:
        return
    used = await stored_bytes(tx.connection, new.user_id)
    if used + new.size_bytes > allowed:
        raise Problem(
            413,
            "media_quota_exceeded",
            "Your files would take more bytes than you may store.",
            hint="Delete files that you do not need, or upload a smaller one.",
            extra={"found": f"{used} bytes stored and {new.size_bytes} bytes uploaded", "allowed": f"<= {allowed} bytes"},
        )
