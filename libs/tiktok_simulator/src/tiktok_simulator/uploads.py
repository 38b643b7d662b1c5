"""Chunk PUTs: headers checked, bytes received in order, answers as TikTok gives them."""

import re
import secrets
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

from tiktok_simulator.answers import UploadError
from tiktok_simulator.paths import UPLOAD
from tiktok_simulator.publications import Publication
from tiktok_simulator.state import Simulator, simulator_of
from tiktok_simulator.upload_store import ChunkReceiver, Superseded, UploadGone

router = APIRouter()

_CONTENT_TYPES = frozenset({"video/mp4", "video/quicktime", "video/webm"})
_CONTENT_RANGE = re.compile(r"bytes (\d{1,12})-(\d{1,12})/(\d{1,12})")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A checked chunk request: ``first`` to ``last`` of the file, both included."""

    first: int
    last: int
    content_type: str

    @property
    def length(self) -> int:
        """Number of bytes."""
        return self.last - self.first + 1


@router.put(UPLOAD)
async def put_chunk(request: Request, simulator: Annotated[Simulator, Depends(simulator_of)]) -> Response:
    """Receive the next chunk: 206, after the last one 201. Of a broken or overlong request nothing is stored."""
    publication = _publication(request, simulator)
    chunk = check_chunk(request, publication)
    if simulator.settings.stored_chunk_again == "accept" and chunk.last < publication.received:
        async for _ in request.stream():
            continue
        return _stored(simulator, publication)
    if publication.uploaded_at is not None:
        raise UploadError(simulator.settings.completed_upload_status, "the upload is complete")
    check_place(chunk, publication)
    try:
        receiver = await simulator.uploads.begin(publication, chunk.length)
    except UploadGone:
        raise UploadError(404, "no such upload") from None
    try:
        await _receive(request, receiver, chunk.length)
        await receiver.finish()
        _commit(simulator, chunk, receiver)
    except Superseded:
        raise UploadError(416, "another request for this upload has begun since") from None
    finally:
        await receiver.close()
    if publication.uploaded_at is not None:
        simulator.processor.start(publication)
    return _stored(simulator, publication)


def check_chunk(request: Request, publication: Publication) -> Chunk:
    """Return the chunk if its headers are right. Raises UploadError."""
    match = _CONTENT_RANGE.fullmatch(request.headers.get("content-range", ""))
    if "content-range" not in request.headers:
        raise UploadError(416, "the Content-Range header is missing")
    if match is None:
        raise UploadError(400, "the Content-Range header is malformed")
    first, last, total = (int(number) for number in match.groups())
    content_type = request.headers.get("content-type", "")
    if content_type not in _CONTENT_TYPES:
        raise UploadError(400, "the Content-Type must be video/mp4, video/quicktime or video/webm")
    length = request.headers.get("content-length", "")
    if not length.isdigit() or first > last or int(length) != last - first + 1 or total != publication.size:
        raise UploadError(400, "Content-Length, Content-Range and the size given at init do not agree")
    return Chunk(first, last, content_type)


def check_place(chunk: Chunk, publication: Publication) -> None:
    """Raise UploadError unless the chunk is the next one of the plan."""
    if chunk.first != publication.received:
        raise UploadError(416, f"{publication.received} bytes are stored")
    index = min(chunk.first // publication.chunk_size, publication.chunk_count - 1)
    is_last = index == publication.chunk_count - 1
    planned = publication.size - 1 if is_last else (index + 1) * publication.chunk_size - 1
    if chunk.last != planned:
        raise UploadError(400, f"the chunk must end at {planned}, as announced at init")


def _publication(request: Request, simulator: Simulator) -> Publication:
    publication = simulator.ledger.of_upload(request.query_params.get("upload_id", ""))
    token = request.query_params.get("upload_token", "")
    if publication is None or not secrets.compare_digest(token.encode(), publication.upload_token.encode()):
        raise UploadError(404, "no such upload")
    _refuse_late(simulator, publication)
    return publication


def _refuse_late(simulator: Simulator, publication: Publication) -> None:
    if simulator.clock.now() >= publication.upload_expires_at:
        raise UploadError(403, "the upload address has expired")


async def _receive(request: Request, receiver: ChunkReceiver, length: int) -> None:
    try:
        async for piece in request.stream():
            await receiver.feed(piece)
    except ClientDisconnect:
        raise UploadError(400, "the connection was lost") from None
    if receiver.arrived != length:
        raise UploadError(400, "the body has another length than announced")


def _commit(simulator: Simulator, chunk: Chunk, receiver: ChunkReceiver) -> None:
    """Make the chunk count. Nothing can come between the checks and the store: there is no await in here."""
    publication = receiver.publication
    _refuse_late(simulator, publication)
    if receiver.superseded:
        raise Superseded
    publication.received = chunk.last + 1
    publication.content_type = chunk.content_type
    simulator.uploads.remember(receiver)
    if publication.received == publication.size:
        publication.sha256 = receiver.digest.hexdigest()
        publication.uploaded_at = simulator.clock.now()
        simulator.processor.plan(publication)
    simulator.ledger.store(publication)


def _stored(simulator: Simulator, publication: Publication) -> Response:
    end = publication.received if simulator.settings.content_range_counts else publication.received - 1
    return JSONResponse(
        {},
        status_code=201 if publication.received == publication.size else 206,
        headers={"Content-Range": f"bytes 0-{end}/{publication.size}"},
    )
