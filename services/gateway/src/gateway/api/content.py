"""An object of the media library as a response: whole, or one range of it (RFC 9110, section 14)."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict
from starlette.responses import StreamingResponse

from common.errors import Problem
from gateway.api.head import HEAD_ONLY
from gateway.clients.object_store import ObjectStore
from gateway.domain.byte_range import ByteRange, RangeNotSatisfiable, parse_range

THUMBNAIL_TYPE = "image/jpeg"
_WHOLE, _PART = 200, 206


class StoredMedia(BaseModel):
    """What the scheduler says of a file the caller owns, and where its bytes and its thumbnail lie."""

    model_config = ConfigDict(extra="ignore")

    filename: str
    content_type: str
    sha256: str
    storage_key: str
    thumbnail_key: str | None

    def content(self) -> "Content":
        """Return the file itself as something to answer with."""
        return Content(self.storage_key, self.filename, self.content_type, f'"{self.sha256}"')

    def thumbnail(self) -> "Content":
        """Return the thumbnail as something to answer with; raises `Problem` 404 when there is none."""
        if self.thumbnail_key is None:
            raise Problem(404, "thumbnail_not_available", "There is no thumbnail of this file.")
        return Content(self.thumbnail_key, f"{self.filename}.jpg", THUMBNAIL_TYPE, f'"{self.sha256}-thumbnail"')


@dataclass(frozen=True, slots=True)
class Content:
    """An object, the name and type it is served under, and its entity tag with quotes."""

    key: str
    filename: str
    content_type: str
    etag: str


async def content_response(request: Request, store: ObjectStore, content: Content) -> Response:
    """Return 200 or 206 with the bytes, streamed as fast as the client takes them; 304 when it has them already.

    HEAD gets the same headers without the bytes. Raises `Problem` 404 when the object is gone, 416 for a range outside of it,
    503 when the storage fails.
    """
    size = await store.size(content.key)
    if size is None:
        raise Problem(404, "media_content_gone", "The file's content is no longer stored.")
    headers = {
        "ETag": content.etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=0, must-revalidate",
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(content.filename, safe='')}",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
    if {content.etag, "*"} & _tags(request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    wanted = _range(request, size, content.etag)
    found = wanted or ByteRange(0, size)
    headers["Content-Length"] = str(found.stop - found.start)
    if wanted is not None:
        headers["Content-Range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{size}"
    status = _WHOLE if wanted is None else _PART
    if request.scope.get(HEAD_ONLY):
        return _bare(status, content.content_type, headers)
    body = store.read(content.key, found.start, found.stop)
    return StreamingResponse(body, status_code=status, media_type=content.content_type, headers=headers)


def _bare(status: int, content_type: str, headers: Mapping[str, str]) -> Response:
    response = Response(status_code=status, media_type=content_type, headers={})
    for name, value in headers.items():
        response.headers[name] = value
    return response


def _tags(header: str) -> set[str]:
    return {tag.strip().removeprefix("W/") for tag in header.split(",")}


def _range(request: Request, size: int, etag: str) -> ByteRange | None:
    """Return the range to serve; HEAD has none (RFC 9110, 14.2), and an If-Range that does not match asks for the whole."""
    if request.scope.get(HEAD_ONLY) or request.headers.get("if-range", etag) != etag:
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
