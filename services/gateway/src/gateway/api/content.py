"""An object of the media library as a response: whole, or one range of it (RFC 9110, section 14)."""

from urllib.parse import quote
from uuid import UUID

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict
from starlette.responses import StreamingResponse

from common.errors import Problem
from gateway.clients.object_store import ObjectStore
from gateway.domain.byte_range import ByteRange, RangeNotSatisfiable, parse_range
from gateway.usecases.store_upload import media_key


class StoredMedia(BaseModel):
    """What the scheduler says of a file the caller owns."""

    model_config = ConfigDict(extra="ignore")

    id: UUID
    filename: str
    content_type: str
    sha256: str


async def content_response(request: Request, store: ObjectStore, media: StoredMedia, user_id: UUID) -> Response:
    """Return 200 or 206 with the bytes, streamed as fast as the client takes them; 304 when it has them already.

    Raises `Problem` 404 when the object is gone, 416 for a range outside of it, 503 when the storage fails.
    """
    key = media_key(user_id, media.id)
    size = await store.size(key)
    if size is None:
        raise Problem(404, "media_content_gone", "The file's content is no longer stored.")
    etag = f'"{media.sha256}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=0, must-revalidate",
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(media.filename, safe='')}",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
    if etag in _tags(request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    wanted = _range(request, size, etag)
    found = wanted or ByteRange(0, size)
    headers["Content-Length"] = str(found.stop - found.start)
    if wanted is not None:
        headers["Content-Range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{size}"
    return StreamingResponse(
        store.read(key, found.start, found.stop),
        status_code=200 if wanted is None else 206,
        media_type=media.content_type,
        headers=headers,
    )


def _tags(header: str) -> set[str]:
    return {tag.strip().removeprefix("W/") for tag in header.split(",")}


def _range(request: Request, size: int, etag: str) -> ByteRange | None:
    if request.headers.get("if-range", etag) != etag:
        return None
    try:
        return parse_range(request.headers.get("range"), size)
    except RangeNotSatisfiable:
        raise Problem(
            416,
            "range_not_satisfiable",
            f"The file has {size} bytes.",
            headers={"Content-Range": f"bytes */{size}", "Accept-Ranges": "bytes"},
        ) from None
