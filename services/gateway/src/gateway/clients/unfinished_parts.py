"""Parts of writes into a bucket that nobody finished: their writer was killed and could not give them up itself.

They are in no listing of objects and cost their space for ever. `obstore` gives up what fails in a living process; these are
found and removed here (ListMultipartUploads, AbortMultipartUpload).
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import httpx
import structlog

from common.clock import utc_now
from common.errors import Transient
from gateway.clients.s3_requests import S3Access, path_text, query_text, signed_headers

CALL_SECONDS = 60.0
PAGES_AT_MOST = 10
"""Of a thousand each: what is left is for the next look."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Unfinished:
    key: str
    upload_id: str
    begun_at: datetime


class UnfinishedParts:
    """Looks below some prefixes of `s3://bucket/prefix`."""

    def __init__(self, url: str, access: S3Access, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        parts = urlsplit(url)
        self._bucket, self._prefix = parts.netloc, parts.path.strip("/")
        self._access = access
        self._transport = transport

    async def sweep(self, prefixes: Collection[str], *, older_than: timedelta) -> int:
        """Give up writes below these prefixes that were begun longer ago; returns how many.

        Raises Transient while the store is away, or refuses.
        """
        before, swept = utc_now() - older_than, 0
        async with httpx.AsyncClient(timeout=CALL_SECONDS, transport=self._transport, trust_env=False) as http:
            for prefix in prefixes:
                for old in [one for one in await self._unfinished(http, prefix) if one.begun_at < before]:
                    await self._call(http, "DELETE", old.key, {"uploadId": old.upload_id})
                    swept += 1
        if swept:
            _log.info("unfinished_parts_removed", writes=swept)
        return swept

    async def _unfinished(self, http: httpx.AsyncClient, prefix: str) -> list[_Unfinished]:
        below = "/".join(part for part in (self._prefix, prefix.strip("/")) if part) + "/"
        query, found = {"uploads": "", "prefix": below}, list[_Unfinished]()
        for _ in range(PAGES_AT_MOST):
            try:
                page = ET.fromstring(await self._call(http, "GET", "", query))  # noqa: S314 - our own store's answer
                found += _uploads(page)
            except (ET.ParseError, ValueError) as error:
                raise Transient(f"object storage: {type(error).__name__}") from error
            if _text(page, "IsTruncated") != "true":
                break
            query |= {"key-marker": _text(page, "NextKeyMarker"), "upload-id-marker": _text(page, "NextUploadIdMarker")}
        return found

    async def _call(self, http: httpx.AsyncClient, method: str, key: str, query: Mapping[str, str]) -> bytes:
        url = self._access.address + path_text(f"/{self._bucket}" + (f"/{key}" if key else ""))
        headers = signed_headers(self._access, method, url, query, now=utc_now())
        try:
            answer = await http.request(method, f"{url}?{query_text(query)}", headers=headers)
        except httpx.HTTPError as error:
            raise Transient(f"object storage: {type(error).__name__}") from error
        # Somebody else, or its writer, came first.
        if answer.is_success or (method == "DELETE" and answer.status_code == httpx.codes.NOT_FOUND):
            return answer.content
        raise Transient(f"object storage: {answer.status_code}")


def _uploads(page: ET.Element) -> Iterator[_Unfinished]:
    """Yield what a page lists. Raises ValueError for one that cannot be understood."""
    for item in page.iterfind(".//{*}Upload"):
        begun_at = datetime.fromisoformat(_text(item, "Initiated")).astimezone(UTC)
        yield _Unfinished(_text(item, "Key"), _text(item, "UploadId"), begun_at)


def _text(element: ET.Element, name: str) -> str:
    return element.findtext(f"{{*}}{name}") or ""
