"""From an address into object storage: one file, whole or not at all."""

from contextlib import aclosing
from dataclasses import dataclass
from uuid import UUID

from publisher.clients.fetched_files import FetchedFiles, fetched_key
from publisher.clients.source_fetch.download import Download, DownloadLimits, StartOver, Watch
from publisher.clients.source_fetch.opening import SourceOpener
from publisher.domain import source_troubles
from publisher.errors import CallFailed

MAX_TURNS = 3
"""How often a file is begun before it is left for later: a server that cannot go on in the middle, or a file that changes."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file in storage: key, size in bytes, SHA-256 in hex, media type by its content."""

    key: str
    size: int
    sha256: str
    content_type: str


class SourceFetcher:
    """Fetches files that clients named by their address; a component."""

    def __init__(self, opener: SourceOpener, files: FetchedFiles, limits: DownloadLimits) -> None:
        self._opener = opener
        self._limits = limits
        self.files = files

    async def start(self) -> None:
        """Do nothing: connections are made for each file."""

    async def stop(self) -> None:
        """End the threads that resolve names."""
        await self._opener.stop()

    async def fetch(self, url: str, job_id: UUID, lease_token: int, watch: Watch) -> Fetched:
        """Store what is at `url` under a key of this job and lease.

        Raises CallFailed with what is wrong, MediaUnavailable when the storage fails, and what the watch raises; then, and when it
        is cancelled, nothing is left behind.
        """
        for turn in range(MAX_TURNS):
            key = fetched_key(job_id, lease_token, turn)
            download = Download(self._opener, url, self._limits, watch)
            try:
                async with aclosing(download.blocks()) as blocks:
                    await self.files.write(key, blocks)
            except StartOver:
                continue
            return Fetched(key, download.size, download.sha256, download.content_type)
        raise CallFailed(source_troubles.broken_off(download.host))
