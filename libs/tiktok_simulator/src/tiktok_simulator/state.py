"""The simulator's parts, put together, and how a request reaches them."""

from dataclasses import dataclass

from fastapi import Request

from tiktok_simulator.clock import Clock
from tiktok_simulator.downloads import Downloads
from tiktok_simulator.faults import Faults
from tiktok_simulator.feed import Feed
from tiktok_simulator.grants import Grants
from tiktok_simulator.journal import Journal
from tiktok_simulator.ledger import Ledger
from tiktok_simulator.personas import Creators
from tiktok_simulator.processing import Processor
from tiktok_simulator.publications import PULL_FROM_URL
from tiktok_simulator.quotas import Quotas
from tiktok_simulator.settings import Settings
from tiktok_simulator.stats import Stats
from tiktok_simulator.upload_store import UploadStore
from tiktok_simulator.webhooks import WebhookSender


@dataclass(frozen=True)
class Simulator:
    """All state of one running simulator."""

    settings: Settings
    journal: Journal
    clock: Clock
    creators: Creators
    grants: Grants
    quotas: Quotas
    ledger: Ledger
    faults: Faults
    stats: Stats
    uploads: UploadStore
    feed: Feed
    processor: Processor
    downloads: Downloads
    webhooks: WebhookSender

    @classmethod
    def open(cls, settings: Settings) -> "Simulator":
        """Load the state file, if there is one, and put the parts together; nothing runs yet."""
        journal = Journal(settings.state_file)
        clock = Clock(journal)
        creators = Creators(journal, settings.client_key)
        grants = Grants(journal, settings, clock)
        ledger = Ledger(journal, clock)
        faults = Faults()
        uploads = UploadStore(settings)
        webhooks = WebhookSender(settings, journal, faults)
        feed = Feed(settings, clock, ledger, creators, webhooks)
        processor = Processor(settings, clock, ledger, creators, grants, faults, uploads, feed, webhooks)
        return cls(
            settings=settings,
            journal=journal,
            clock=clock,
            creators=creators,
            grants=grants,
            quotas=Quotas(settings, clock),
            ledger=ledger,
            faults=faults,
            stats=Stats(),
            uploads=uploads,
            feed=feed,
            processor=processor,
            downloads=Downloads(settings, clock, ledger, faults, uploads, processor),
            webhooks=webhooks,
        )

    async def start(self) -> None:
        """Take up what a restart interrupted: fetching, processing, and webhooks that wait."""
        self.webhooks.resume()
        for publication in self.ledger.all():
            self.feed.resume(publication)
            if publication.finished or publication.draft:
                self.uploads.keep_for_now(publication)
                continue
            if publication.uploaded_at is not None:
                self.processor.start(publication)
            elif publication.source == PULL_FROM_URL:
                self.downloads.start(publication)

    async def close(self) -> None:
        """Stop all work (it goes on after a restart with a state file) and close the files."""
        await self._stop_work()
        self.uploads.close()
        self.journal.close()

    def withdraw(self, open_id: str, reason: int) -> bool:
        """Take the app's access to a creator away and tell the app why; False when it had none."""
        connected = self.grants.connected(open_id)
        self.grants.revoke(open_id)
        if connected:
            self.webhooks.tell("authorization.removed", open_id, {"reason": reason})
        return connected

    async def reset(self) -> None:
        """Go back to the beginning: three creators and nothing else."""
        await self._stop_work()
        self.webhooks.clear()
        self.faults.clear()
        self.stats.clear()
        self.quotas.reset()
        self.clock.reset()
        self.grants.reset()
        self.ledger.reset()
        self.creators.reset()
        self.uploads.clear()

    async def _stop_work(self) -> None:
        await self.downloads.stop()
        await self.processor.stop()
        await self.feed.stop()
        await self.webhooks.stop()


def simulator_of(request: Request) -> Simulator:
    """Return the running simulator (a FastAPI dependency)."""
    simulator = request.app.state.simulator
    if not isinstance(simulator, Simulator):
        raise TypeError("the application has not been started")
    return simulator
