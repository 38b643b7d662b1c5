"""What every job run uses; made once by the composition root."""

from dataclasses import dataclass

from common.messaging.outbox import Outbox
from publisher.clients.accounts import AccountsClient
from publisher.clients.media_store import MediaStore
from publisher.clients.scheduler import SchedulerClient
from publisher.clients.source_fetch.fetcher import SourceFetcher
from publisher.clients.tiktok import TikTok
from publisher.runner.crash_points import CrashPoints
from publisher.runner.database_turns import DatabaseTurns
from publisher.runner.limits import Limits
from publisher.runner.upload_bandwidth import UploadBandwidth
from publisher.runner.upload_places import UploadPlaces
from publisher.upload_addresses import UploadAddresses


@dataclass(frozen=True, slots=True)
class Tools:
    """Turns at the database, outbox, clients, limits, places for uploads, what seals their addresses, the name of this replica."""

    turns: DatabaseTurns
    outbox: Outbox
    accounts: AccountsClient
    scheduler: SchedulerClient
    tiktok: TikTok
    media: MediaStore
    sources: SourceFetcher
    limits: Limits
    places: UploadPlaces
    bandwidth: UploadBandwidth
    addresses: UploadAddresses
    crash: CrashPoints
    replica: str
