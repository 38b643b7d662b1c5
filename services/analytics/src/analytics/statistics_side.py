"""What collects statistics, wired: the copies, the looks at TikTok, the events that tell of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from analytics.call_pace import CallPace
from analytics.clients.accounts import AccountsClient
from analytics.clients.http import HttpClients, tiktok_http_client
from analytics.loops.projector import Projector
from analytics.loops.snapshots import Snapshots
from analytics.loops.statistics_gauges import StatisticsGauges
from analytics.loops.statistics_retention import StatisticsRetention
from analytics.loops.video_looks import VideoLooksLoop
from analytics.settings import Settings
from analytics.storage.statistics_tables import outbox as outbox_rows
from analytics.tiktok_numbers import TikTokNumbers
from analytics.usecases.project_events import ProjectionRules
from common.auth.service_tokens import ServiceTokenSigner
from common.database import Database
from common.http.client import ServiceClient, internal_client
from common.http.components import Component
from common.messaging.outbox import Outbox
from common.messaging.publisher import MessagePublisher
from common.messaging.relay import Relay
from tiktok.display import UserClient
from tiktok.videos import VideoClient

USER_INFO = "user_info"
VIDEO_QUERY = "video_query"
CONNECTIONS = 4


@dataclass(frozen=True, slots=True)
class StatisticsSide:
    """Components in the order of their start, and what is to be called when events were stored."""

    components: Sequence[Component]
    events_stored: Callable[[], None]


def statistics_side(settings: Settings, publisher: MessagePublisher) -> StatisticsSide:
    """Wire the side. It has few connections of its own, so that nobody who stores events or reads waits for one."""
    name = f"{settings.instance}:statistics"
    database = Database(settings.database_url, application_name=name, pool_size=CONNECTIONS)
    clients = HttpClients(internal_client(), tiktok_http_client())
    relay = Relay(database, outbox_rows, publisher)
    outbox = Outbox(outbox_rows, service=settings.service, wake=relay.wake)
    numbers = tiktok_numbers(settings, database, clients)
    looks, kept = settings.video_looks, settings.kept_statistics
    snapshots = Snapshots(database, numbers, outbox, concurrency=settings.snapshot_concurrency)
    videos = VideoLooksLoop(database, numbers, looks, concurrency=settings.video_look_concurrency)
    projector = Projector(database, ProjectionRules(looks, kept.snapshots), accounts_changed=snapshots.wake)
    loops = [snapshots, videos, projector, StatisticsRetention(database, kept), StatisticsGauges(database)]
    # The numbers stop first: then no loop waits for TikTok.
    return StatisticsSide([database, clients, relay, *loops, numbers], projector.wake)


def tiktok_numbers(settings: Settings, database: Database, clients: HttpClients) -> TikTokNumbers:
    """Return what asks TikTok."""
    signer = ServiceTokenSigner(settings.service, settings.service_private_key.get_secret_value())
    url = settings.tiktok_api_url
    return TikTokNumbers(
        AccountsClient(ServiceClient(clients.internal, settings.accounts_url, audience="accounts", signer=signer)),
        UserClient(clients.tiktok, url),
        VideoClient(clients.tiktok, url),
        user_info_pace=CallPace(database, USER_INFO, per_minute=settings.user_info_calls_per_minute),
        video_query_pace=CallPace(database, VIDEO_QUERY, per_minute=settings.video_query_calls_per_minute),
    )
