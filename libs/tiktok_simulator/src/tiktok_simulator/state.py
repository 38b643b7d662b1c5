"""The simulator's parts, put together, and how a request reaches them."""

from dataclasses import dataclass

from fastapi import Request

from tiktok_simulator.faults import Faults
from tiktok_simulator.grants import Grants
from tiktok_simulator.journal import Journal
from tiktok_simulator.ledger import Ledger
from tiktok_simulator.personas import Creators
from tiktok_simulator.processing import Processor
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
    creators: Creators
    grants: Grants
    quotas: Quotas
    ledger: Ledger
    faults: Faults
    stats: Stats
    uploads: UploadStore
    processor: Processor
    webhooks: WebhookSender

    @classmethod
    def open(cls, settings: Settings) -> "Simulator":
        """Load the state file, if there is one, and put the parts together; nothing runs yet."""
        journal = Journal(settings.state_file)
        creators = Creators(journal, settings.client_key)
        grants = Grants(journal, settings)
        ledger = Ledger(journal)
        faults = Faults()
        uploads = UploadStore(settings)
        webhooks = WebhookSender(settings, journal, faults)
        return cls(
            settings=settings,
            journal=journal,
            creators=creators,
            grants=grants,
            quotas=Quotas(settings),
            ledger=ledger,
            faults=faults,
            stats=Stats(),
            uploads=uploads,
            processor=Processor(settings, ledger, creators, grants, faults, uploads, webhooks),
            webhooks=webhooks,
        )

    async def start(self) -> None:
        """Take up what a restart interrupted: processing, and webhooks that wait."""
        self.webhooks.resume()
        for publication in self.ledger.all():
            if publication.uploaded_at is not None and not publication.finished:
                self.processor.start(publication)
            elif publication.public_at is not None and not publication.public_told:
                self.processor.announce(publication)

    async def close(self) -> None:
        """Stop processing (it goes on after a restart with a state file) and close the files."""
        await self.processor.stop()
        await self.webhooks.stop()
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
        await self.processor.stop()
        await self.webhooks.stop()
        self.webhooks.clear()
        self.faults.clear()
        self.stats.clear()
        self.quotas.reset()
        self.grants.reset()
        self.ledger.reset()
        self.creators.reset()
        self.uploads.clear()


def simulator_of(request: Request) -> Simulator:
    """Return the running simulator (a FastAPI dependency)."""
    simulator = request.app.state.simulator
    if not isinstance(simulator, Simulator):
        raise TypeError("the application has not been started")
    return simulator
