"""Pulls and photos: TikTok's own fetching after an init, which ends in processing, in FAILED, or in a cancellation."""

import asyncio
import hashlib
from pathlib import Path

import structlog

from tiktok_simulator.background import Background
from tiktok_simulator.clock import Clock
from tiktok_simulator.faults import DOWNLOAD, Fault, Faults
from tiktok_simulator.fetching import Fetched, Fetcher, FetchFailed, TooLarge
from tiktok_simulator.ledger import Ledger
from tiktok_simulator.processing import Processor
from tiktok_simulator.publications import PULL_FROM_URL, Photo, Publication
from tiktok_simulator.settings import Settings
from tiktok_simulator.upload_store import UploadStore

log = structlog.get_logger(__name__)
_PHOTO_MEGABYTES = 20
_NEARLY_DONE = 0.9


class Downloads:
    """Fetches in the background what accepted inits name. After a restart a fetch begins anew."""

    def __init__(
        self, settings: Settings, clock: Clock, ledger: Ledger, faults: Faults, uploads: UploadStore, processor: Processor
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._ledger = ledger
        self._faults = faults
        self._uploads = uploads
        self._processor = processor
        self._fetcher = Fetcher(settings)
        self._background = Background()

    def plan(self, publication: Publication) -> Fault | None:
        """Return an ordered fault for a fetch about to begin; that it is stuck is written into the publication."""
        fault = self._faults.take(DOWNLOAD, publication.open_id)
        publication.pull_stuck = bool(fault is not None and fault.stuck)
        return fault

    def start(self, publication: Publication, fault: Fault | None = None) -> None:
        """Fetch in the background; a stuck one never begins and never ends."""
        if not publication.pull_stuck:
            self._background.run(self._download(publication, fault), _name(publication))

    def cancel(self, publication: Publication) -> bool:
        """Give up a fetch that is under way; False when it is over, nearly over, or never was one."""
        nearly = bool(publication.size) and publication.received >= _NEARLY_DONE * publication.size
        if publication.source != PULL_FROM_URL or publication.uploaded_at is not None or publication.finished or nearly:
            return False
        self._background.break_off(_name(publication))
        self._processor.refuse(publication, "publish_cancelled")
        return True

    async def stop(self) -> None:
        """Break off all fetches."""
        await self._background.stop()
        await self._fetcher.close()

    async def _download(self, publication: Publication, fault: Fault | None) -> None:
        fetching = asyncio.create_task(self._fetch_all(publication, fault))
        deadline = asyncio.create_task(self._clock.sleep_until(publication.created_at + self._settings.pull_seconds))
        try:
            await asyncio.wait({fetching, deadline}, return_when=asyncio.FIRST_COMPLETED)
            problem = await fetching if fetching.done() else _pull_failed(publication)
        finally:
            for task in (fetching, deadline):
                task.cancel()
            await asyncio.gather(fetching, deadline, return_exceptions=True)
        if publication.finished:
            return
        if problem is not None:
            self._processor.refuse(publication, problem)
            return
        publication.uploaded_at = self._clock.now()
        self._processor.plan(publication)
        self._ledger.store(publication)
        self._processor.start(publication)

    async def _fetch_all(self, publication: Publication, fault: Fault | None) -> str | None:
        """Fetch everything and write down what it was; return a fail_reason or None."""
        if fault is not None:
            await fault.wait()
            if fault.drop:
                return _pull_failed(publication)
        publication.received = publication.size = 0
        try:
            if publication.media_type == "video":
                path, limit = self._uploads.path(publication), self._settings.pull_max_bytes
                got = await self._fetch(publication, publication.urls[0], path, limit)
                publication.sha256 = got.sha256
            else:
                publication.photos = await self._fetch_photos(publication)
                publication.sha256 = await asyncio.to_thread(_hash_of, self._photo_paths(publication))
        except FetchFailed as error:
            log.info("pull_failed", publish_id=publication.publish_id, reason=str(error))
            return _pull_failed(publication)
        except TooLarge:
            return "file_format_check_failed"
        publication.size = publication.received
        return None

    async def _fetch_photos(self, publication: Publication) -> list[Photo]:
        limit = _PHOTO_MEGABYTES * self._settings.megabyte_bytes
        pairs = zip(publication.urls, self._photo_paths(publication), strict=True)
        fetched = [await self._fetch(publication, url, path, limit) for url, path in pairs]
        return [Photo(sha256=got.sha256, size=got.size) for got in fetched]

    async def _fetch(self, publication: Publication, url: str, path: Path, limit: int) -> Fetched:
        def arrived(piece: int, total: int) -> None:
            publication.received += piece
            if publication.media_type == "video":
                publication.size = total

        return await self._fetcher.fetch(url, path, limit, arrived)

    def _photo_paths(self, publication: Publication) -> list[Path]:
        return [self._uploads.photo_path(publication, index) for index in range(len(publication.urls))]


def _name(publication: Publication) -> str:
    return f"fetch {publication.publish_id}"


def _pull_failed(publication: Publication) -> str:
    return f"{publication.media_type}_pull_failed"


def _hash_of(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()
