"""Composition root of the scheduler: the only place that wires."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import httpx
from fastapi import FastAPI

from common.auth.service_tokens import ServiceTokenSigner, ServiceTokenVerifier
from common.auth.user_tokens import UserTokenVerifier
from common.database import Database
from common.http.app import create_app
from common.http.client import ServiceClient, internal_client
from common.http.components import Component
from common.http.health import Check
from common.messaging.commands import CommandHandling
from common.messaging.consumer import Consumer
from common.messaging.dead_letters import Redelivery
from common.messaging.events import handle_events
from common.messaging.headway import Headway
from common.messaging.inbox import Inbox
from common.messaging.incoming import Incoming
from common.messaging.outbox import Outbox
from common.messaging.publisher import MessagePublisher
from common.messaging.relay import Relay
from common.messaging.routes import CommandRoute
from common.settings import ServiceSettings, load
from scheduler.api.addresses import addresses_router
from scheduler.api.media import media_router
from scheduler.api.operations import operations_router
from scheduler.api.posts import posts_router
from scheduler.api.validation import validation_router
from scheduler.clients.account_grants import AccountGrants
from scheduler.clients.accounts import AccountsClient
from scheduler.clients.creator_options import CreatorOptions
from scheduler.clients.daily_caps import DailyCaps
from scheduler.clients.intake_queue import PublisherIntake
from scheduler.clients.object_storage import ObjectStorage
from scheduler.clients.publisher import PublisherClient
from scheduler.clients.publisher_places import PublisherPlaces
from scheduler.clients.timeline import TimelineClient
from scheduler.clients.waiting_registrations import WaitingRegistrations, places_to_wait
from scheduler.handlers import queues
from scheduler.handlers.events import EventHandlers
from scheduler.handlers.media_commands import MediaCommands
from scheduler.handlers.post_commands import PostCommands
from scheduler.loops.backlog import Backlog
from scheduler.loops.due_posts import DuePosts
from scheduler.loops.follow_accounts import FollowAccounts
from scheduler.loops.media_cleanup import MediaCleanup
from scheduler.loops.owners_first import OwnersFirst
from scheduler.loops.preflight import Preflight
from scheduler.loops.prune import Prune
from scheduler.loops.sweep import Sweep
from scheduler.probe.prober import Prober
from scheduler.settings import Settings
from scheduler.storage import tables
from scheduler.usecases.apply_publish_event import PublishRules
from scheduler.usecases.check_before_due import ChecksBeforeDue
from scheduler.usecases.stored_files import StoredFiles
from scheduler.usecases.surroundings import Surveyor
from scheduler.usecases.waker import Waker

URGENT_POOL_SIZE = 3
"""One for the due loop, one for the relay, one for the readiness check of the due loop."""


@dataclass(frozen=True, slots=True)
class Clients:
    """The services that the scheduler asks."""

    http: httpx.AsyncClient
    accounts: AccountsClient
    creators: CreatorOptions
    grants: AccountGrants
    days: DailyCaps
    publisher: PublisherClient
    timeline: TimelineClient


@dataclass(frozen=True, slots=True)
class Parts:
    """What handlers, loops and routes share."""

    clients: Clients
    database: Database
    urgent: Database
    """Connections of the due loop and the relay alone: whatever waits elsewhere, what is due leaves."""
    publisher: MessagePublisher
    relay: Relay
    outbox: Outbox
    intake: PublisherIntake
    headway: Headway
    due: DuePosts
    sweep: Sweep
    prune: Prune
    storage: ObjectStorage
    media_cleanup: MediaCleanup
    preflight: Preflight
    surveyor: Surveyor
    """Asks what the checks of posts need to know from other services."""

    def components(self) -> Sequence[Component]:
        """Return what starts and stops with the service, in the order of starting, but consumers and what needs them."""
        loops = (
            self.prune.loop,
            FollowAccounts(self.database, self.outbox, self.waker).loop,
            self.sweep.moving_loop,
            self.sweep.unwanted_loop,
            *self.media_cleanup.loops,
            self.preflight.loop,
        )
        return [self.database, self.urgent, self.publisher, self.relay, self.intake, *loops]

    def timekeepers(self) -> Sequence[Component]:
        """Return what acts on posts whose time has come or passed: it starts once owners are heard."""
        return [self.sweep.deadline_loop, self.due.loop]

    @property
    def waker(self) -> Waker:
        """Wakes the due loop."""
        return Waker(self.due.loop.wake)


def build() -> tuple[FastAPI, ServiceSettings]:
    """Read the settings and wire the service."""
    settings = load(Settings)
    return wire(settings), settings


def wire(settings: Settings, http: httpx.AsyncClient | None = None, user_tokens: UserTokenVerifier | None = None) -> FastAPI:
    """Return the app of a scheduler with these settings; tests hand in an HTTP client and a verifier of their own.

    Parts start in the order given here and stop in reverse order: deliveries when all is there that they need, and what goes by the
    clock last.
    """
    parts = _parts(settings, _clients(settings, http or internal_client()))
    main, slow = _consumers(settings, parts)
    return create_app(
        service=settings.service,
        title="Cuepost scheduler",
        version="1",
        components=[*parts.components(), main, slow, *parts.timekeepers()],
        checks=[
            Check("database", parts.database.ping),
            Check("broker", parts.publisher.check),
            Check("claiming", parts.due.check),
            Check("consumer", main.check),
            Check("media_consumer", slow.check),
        ],
        routers=[
            posts_router(parts.database, parts.clients.publisher, parts.clients.timeline),
            validation_router(parts.database, parts.surveyor, frozenset(settings.source_url_allowed_hosts)),
            media_router(parts.database),
            operations_router(parts.database),
            addresses_router(parts.database),
        ],
        user_tokens=user_tokens
        or UserTokenVerifier.for_accounts(
            settings.accounts_url, parts.clients.http, issuer=settings.jwt_issuer, audience=settings.jwt_audience
        ),
        service_tokens=ServiceTokenVerifier(settings.service, settings.service_public_keys),
    )


def _parts(settings: Settings, clients: Clients) -> Parts:
    database = Database(settings.database_url, application_name=settings.instance, pool_size=settings.database_pool_size)
    urgent = Database(settings.database_url, application_name=f"{settings.instance}:due", pool_size=URGENT_POOL_SIZE)
    publisher = MessagePublisher(settings.amqp_url, service=settings.service)
    relay = Relay(urgent, tables.outbox, publisher)
    outbox = Outbox(tables.outbox, service=settings.service, wake=relay.wake)
    intake = PublisherIntake(settings.amqp_url)
    backlog = Backlog(urgent, intake, limit=settings.claim_backlog_limit)
    headway = Headway(*queues.OF_OWNERS)
    storage = ObjectStorage(settings.storage_url)
    registrations = WaitingRegistrations(settings.amqp_url, queues=places_to_wait(queues.MEDIA.name))
    return Parts(
        clients,
        database,
        urgent,
        publisher,
        relay,
        outbox,
        intake,
        headway,
        DuePosts(urgent, outbox, settings.claim_limits, backlog, OwnersFirst(headway, intake)),
        Sweep(database, outbox, clients.publisher, settings.sweep_limits, backlog, headway.is_behind),
        Prune(database, Inbox(tables.inbox), timedelta(days=settings.reply_retention_days)),
        storage,
        MediaCleanup(database, outbox, storage, settings.cleanup, registrations.none),
        _preflight(settings, database, outbox, clients, storage),
        _surveyor(settings, database, clients, storage),
    )


def _surveyor(settings: Settings, database: Database, clients: Clients, storage: ObjectStorage) -> Surveyor:
    files = StoredFiles(database, storage)
    return Surveyor(
        database, clients.accounts, clients.creators, clients.grants, files, clients.days, settings.tiktok_sandbox_mode
    )


def _preflight(settings: Settings, database: Database, outbox: Outbox, clients: Clients, storage: ObjectStorage) -> Preflight:
    hosts = frozenset(settings.source_url_allowed_hosts)
    checks = ChecksBeforeDue(
        database,
        outbox,
        _surveyor(settings, database, clients, storage),
        clients.accounts,
        storage,
        hosts,
        settings.preflight_limits,
    )
    return Preflight(checks)


def _consumers(settings: Settings, parts: Parts) -> tuple[Consumer, Consumer]:
    """Return the consumer of everything quick and the one of the slow media queue."""
    redelivery = Redelivery(parts.publisher, service=settings.service)
    events = EventHandlers(parts.outbox, parts.waker, _publish_rules(settings))
    inbox = Inbox(tables.inbox)

    def consumer(headway: Headway | None = None) -> Consumer:
        # They stop one after the other, and relay, loops and pools want their share of the time, too.
        grace = settings.shutdown_grace_seconds / 4
        return Consumer(settings.amqp_url, redelivery, service=settings.service, grace=grace, headway=headway)

    def handling(routes: Sequence[CommandRoute]) -> CommandHandling:
        return CommandHandling(parts.database, tables.inbox, parts.publisher, routes)

    main, slow = consumer(parts.headway), consumer()
    files = _media_commands(settings, parts)
    posts = handling([*_post_commands(settings, parts).routes(), *files.quick_routes()])
    media = handling(files.routes())

    async def on_dead_registration(incoming: Incoming) -> None:
        try:
            await files.on_dead(incoming.envelope())
        finally:
            await media.on_dead(incoming)

    main.subscribe(queues.COMMANDS, posts.handle, on_dead=posts.on_dead)
    main.subscribe(queues.QUESTIONS, posts.handle, on_dead=posts.on_dead)
    main.subscribe(queues.BATCHES, posts.handle, on_dead=posts.on_dead)
    main.subscribe(queues.PUBLISH_RESULTS, handle_events(parts.database, inbox, events.publish_routes()))
    main.subscribe(queues.ACCOUNTS, handle_events(parts.database, inbox, events.account_routes()))
    slow.subscribe(queues.MEDIA, media.handle, on_dead=on_dead_registration)
    return main, slow


def _post_commands(settings: Settings, parts: Parts) -> PostCommands:
    return PostCommands(
        parts.database,
        parts.outbox,
        parts.waker,
        parts.surveyor,
        PublisherPlaces(parts.clients.publisher),
        frozenset(settings.source_url_allowed_hosts),
        _publish_rules(settings),
    )


def _publish_rules(settings: Settings) -> PublishRules:
    return PublishRules(settings.retry_policy, settings.patience)


def _media_commands(settings: Settings, parts: Parts) -> MediaCommands:
    prober = Prober(settings.probe_limits, parallel=settings.probe_parallel)
    wake_removal = parts.media_cleanup.removal.wake
    return MediaCommands(
        parts.database, parts.outbox, parts.storage, prober, wake_removal, bytes_per_user=settings.media_bytes_per_user
    )


def _clients(settings: Settings, http: httpx.AsyncClient) -> Clients:
    signer = ServiceTokenSigner(settings.service, settings.service_private_key.get_secret_value())
    to_accounts = ServiceClient(http, settings.accounts_url, audience="accounts", signer=signer)
    to_publisher = ServiceClient(http, settings.publisher_url, audience="publisher", signer=signer)
    accounts = AccountsClient(to_accounts)
    return Clients(
        http,
        accounts,
        CreatorOptions(to_accounts),
        AccountGrants(accounts),
        DailyCaps(to_publisher),
        PublisherClient(to_publisher),
        TimelineClient(ServiceClient(http, settings.analytics_url, audience="analytics", signer=signer)),
    )
