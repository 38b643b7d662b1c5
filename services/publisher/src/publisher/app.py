"""Composition root of the publisher: the only place that wires."""

from datetime import timedelta

from fastapi import FastAPI

from common.auth.service_tokens import ServiceTokenSigner, ServiceTokenVerifier
from common.database import Database
from common.http.app import create_app
from common.http.client import ServiceClient, internal_client
from common.http.components import Component
from common.http.health import Check
from common.messaging.batch_consumer import BatchConsumer
from common.messaging.consumer import Consumer
from common.messaging.dead_letters import Redelivery
from common.messaging.events import handle_events
from common.messaging.inbox import Inbox
from common.messaging.outbox import Outbox
from common.messaging.publisher import MessagePublisher
from common.messaging.relay import Relay
from common.settings import ServiceSettings, load
from publisher.api.accounts import accounts_router
from publisher.api.posts import posts_router
from publisher.clients.accounts import AccountsClient
from publisher.clients.breakers import Breakers
from publisher.clients.fetched_files import FetchedFiles
from publisher.clients.http import HttpClients, tiktok_http_client, tiktok_once_client
from publisher.clients.media_store import MediaStore
from publisher.clients.scheduler import SchedulerClient
from publisher.clients.source_fetch.download import DownloadLimits
from publisher.clients.source_fetch.fetcher import SourceFetcher
from publisher.clients.source_fetch.opening import SourceOpener
from publisher.clients.tiktok import TikTok
from publisher.domain.job import Lane
from publisher.handlers import accounts as account_news
from publisher.handlers import webhooks
from publisher.handlers.post_due import QUEUE, post_due_batches
from publisher.loops.drain import Drain
from publisher.loops.fetched_files import FetchedFilesCleanup
from publisher.loops.heartbeat import Heartbeat
from publisher.loops.lane_runner import LaneOptions, LaneRunner
from publisher.loops.retention import Retention
from publisher.runner.crash_points import NOWHERE, CrashPoints
from publisher.runner.database_turns import LEFT_TO_OTHERS, DatabaseTurns
from publisher.runner.limits import Limits
from publisher.runner.tools import Tools
from publisher.runner.upload_bandwidth import UploadBandwidth
from publisher.runner.upload_places import UploadPlaces
from publisher.settings import Settings
from publisher.storage.tables import inbox as inbox_rows
from publisher.storage.tables import outbox as outbox_rows
from publisher.upload_addresses import UploadAddresses

HEARTBEAT_CONNECTIONS = 1
URGENT_CONNECTIONS = 5


def build() -> tuple[FastAPI, ServiceSettings]:
    """Read the settings and wire the service."""
    settings = load(Settings)
    return wire(settings), settings


def wire(settings: Settings, *, crash: CrashPoints = NOWHERE) -> FastAPI:
    """Return the app of a service with these settings; `crash` is told which points it reaches.

    Parts start in this order, deliveries last, and stop in reverse order: no new jobs, then the jobs in hand are finished or
    handed back while their leases are still renewed, then the events they told are relayed.
    """
    name = settings.instance
    database = Database(settings.database_url, application_name=name, pool_size=settings.database_pool_size)
    # Leases are renewed however many jobs wait for a connection of the pool.
    heartbeat_database = Database(settings.database_url, application_name=f"{name}:heartbeat", pool_size=HEARTBEAT_CONNECTIONS)
    # Hundreds of jobs share the pool: what is due is taken in and claimed, and what happened is told, without waiting for them.
    urgent = Database(settings.database_url, application_name=f"{name}:urgent", pool_size=URGENT_CONNECTIONS)
    publisher = MessagePublisher(settings.amqp_url, service=settings.service)
    relay = Relay(urgent, outbox_rows, publisher)
    outbox = Outbox(outbox_rows, service=settings.service, wake=relay.wake)
    inbox = Inbox(inbox_rows)
    clients = HttpClients(internal=internal_client(), tiktok=tiktok_http_client(), tiktok_once=tiktok_once_client())
    heartbeat = Heartbeat(heartbeat_database, lease=timedelta(seconds=settings.lease_seconds), crash=crash)
    tools = tools_of(settings, database, outbox, clients, crash=crash)
    send, follow = lanes_of(settings, tools, urgent, heartbeat)
    batches = post_due_batches(urgent, inbox, outbox, replica=name, wake=send.wake)
    redelivery = Redelivery(publisher, service=settings.service)
    # They stop one after the other.
    grace = settings.shutdown_grace_seconds / 20
    intake = BatchConsumer(settings.amqp_url, redelivery, batches, QUEUE, service=settings.service, grace=grace)
    news = Consumer(settings.amqp_url, redelivery, service=settings.service, grace=grace)
    wakes = [send.wake, follow.wake]
    news.subscribe(account_news.QUEUE, handle_events(database, inbox, account_news.account_routes(wakes)))
    news.subscribe(webhooks.QUEUE, handle_events(database, inbox, webhooks.webhook_routes(wakes)))
    lanes: list[Component] = [] if settings.publish_paused else [heartbeat, follow, send, Drain([send, follow])]
    kept = timedelta(days=settings.retention_days)
    retention = Retention(database, inbox, jobs_kept=kept, inbox_kept=timedelta(days=settings.inbox_retention_days))
    outside: list[Component] = [clients, tools.sources]
    cleanup: list[Component] = [retention, *FetchedFilesCleanup(database, tools.sources.files).loops]
    return create_app(
        service=settings.service,
        title="Cuepost publisher",
        version="1",
        components=[database, heartbeat_database, urgent, *outside, publisher, relay, *cleanup, *lanes, intake, news],
        checks=[
            Check("database", database.ping),
            Check("broker", publisher.check),
            Check("consumer", intake.check),
            Check("news_consumer", news.check),
        ],
        routers=[
            posts_router(
                database,
                outbox,
                replica=name,
                wake=follow.wake,
                give_up=tools.limits.give_up,
                vouch_after=tools.limits.vouch_after,
            ),
            accounts_router(database, tools.limits.caps),
        ],
        service_tokens=ServiceTokenVerifier(settings.service, settings.service_public_keys),
    )


def tools_of(
    settings: Settings, database: Database, outbox: Outbox, clients: HttpClients, *, crash: CrashPoints = NOWHERE
) -> Tools:
    """Return what job runs use."""
    signer = ServiceTokenSigner(settings.service, settings.service_private_key.get_secret_value())
    accounts = AccountsClient(ServiceClient(clients.internal, settings.accounts_url, audience="accounts", signer=signer))
    scheduler = SchedulerClient(ServiceClient(clients.internal, settings.scheduler_url, audience="scheduler", signer=signer))
    return Tools(
        turns=DatabaseTurns(database, settings.database_pool_size - LEFT_TO_OTHERS),
        outbox=outbox,
        accounts=accounts,
        scheduler=scheduler,
        tiktok=TikTok(clients.tiktok, clients.tiktok_once, settings.tiktok_api_url, accounts, breakers_of(settings)),
        media=MediaStore(settings.storage_url),
        sources=source_fetcher(settings),
        limits=Limits.of(settings),
        places=UploadPlaces(settings.upload_concurrency),
        bandwidth=UploadBandwidth(settings.upload_bytes_per_second),
        addresses=UploadAddresses(settings.service_private_key),
        crash=crash,
        replica=settings.instance,
    )


def breakers_of(settings: Settings) -> Breakers:
    """Return the circuit breakers of this replica."""
    return Breakers(failures=settings.breaker_failures, open_seconds=settings.breaker_open_seconds)


def source_fetcher(settings: Settings) -> SourceFetcher:
    """Return what fetches files from addresses."""
    opener = SourceOpener(frozenset(settings.source_url_allowed_hosts), stall_seconds=settings.source_stall_seconds)
    limits = DownloadLimits(settings.source_max_bytes, settings.source_bytes_per_second)
    return SourceFetcher(opener, FetchedFiles(settings.storage_url), limits)


def lanes_of(settings: Settings, tools: Tools, claims: Database, heartbeat: Heartbeat) -> tuple[LaneRunner, LaneRunner]:
    """Return the runners of jobs to send and of jobs to follow, which claim over connections of `claims`."""

    def runner(lane: Lane) -> LaneRunner:
        lease = timedelta(seconds=settings.lease_seconds)
        options = LaneOptions(lane, settings.max_jobs_in_flight, lease, settings.drain_seconds)
        return LaneRunner(tools, claims, heartbeat, options)

    return runner(Lane.SEND), runner(Lane.FOLLOW)
