"""Composition root of the scheduler: the only place that wires."""

from dataclasses import dataclass
from datetime import timedelta

import httpx
from fastapi import FastAPI

from common.auth.service_tokens import ServiceTokenSigner, ServiceTokenVerifier
from common.auth.user_tokens import UserTokenVerifier
from common.database import Database
from common.http.app import create_app
from common.http.client import ServiceClient, internal_client
from common.http.health import Check
from common.messaging.commands import CommandHandling
from common.messaging.consumer import Consumer
from common.messaging.dead_letters import Redelivery
from common.messaging.events import handle_events
from common.messaging.inbox import Inbox
from common.messaging.outbox import Outbox
from common.messaging.publisher import MessagePublisher
from common.messaging.relay import Relay
from common.settings import ServiceSettings, load
from scheduler.api.media import media_router
from scheduler.api.operations import operations_router
from scheduler.api.posts import posts_router
from scheduler.clients.accounts import AccountsClient
from scheduler.clients.creator_options import CreatorOptions
from scheduler.clients.intake_queue import PublisherIntake
from scheduler.clients.object_storage import ObjectStorage
from scheduler.clients.publisher import PublisherClient
from scheduler.clients.timeline import TimelineClient
from scheduler.handlers import queues
from scheduler.handlers.events import EventHandlers
from scheduler.handlers.media_commands import MediaCommands
from scheduler.handlers.post_commands import PostCommands
from scheduler.loops.backlog import Backlog
from scheduler.loops.due_posts import DuePosts
from scheduler.loops.prune import Prune
from scheduler.loops.sweep import Sweep
from scheduler.probe.prober import Prober
from scheduler.settings import Settings
from scheduler.storage import tables
from scheduler.usecases.apply_publish_event import PublishRules
from scheduler.usecases.waker import Waker


@dataclass(frozen=True, slots=True)
class Clients:
    """The services that the scheduler asks."""

    http: httpx.AsyncClient
    accounts: AccountsClient
    creators: CreatorOptions
    publisher: PublisherClient
    timeline: TimelineClient


def build() -> tuple[FastAPI, ServiceSettings]:
    """Read the settings and wire the service."""
    settings = load(Settings)
    return wire(settings), settings


def wire(settings: Settings, http: httpx.AsyncClient | None = None, user_tokens: UserTokenVerifier | None = None) -> FastAPI:
    """Return the app of a scheduler with these settings; tests hand in an HTTP client and a verifier of their own.

    Parts start in this order, deliveries last, and stop in reverse order.
    """
    clients = _clients(settings, http or internal_client())
    database = Database(settings.database_url, application_name=settings.instance, pool_size=settings.database_pool_size)
    publisher = MessagePublisher(settings.amqp_url, service=settings.service)
    relay = Relay(database, tables.outbox, publisher)
    outbox = Outbox(tables.outbox, service=settings.service, wake=relay.wake)
    inbox = Inbox(tables.inbox)
    intake = PublisherIntake(settings.amqp_url)
    backlog = Backlog(database, intake, limit=settings.claim_backlog_limit)
    due = DuePosts(database, outbox, settings.claim_limits, backlog)
    sweep = Sweep(database, outbox, clients.publisher, settings.sweep_limits)
    waker = Waker(due.loop.wake)
    commands = PostCommands(
        database,
        outbox,
        waker,
        clients.accounts,
        clients.creators,
        clients.publisher,
        frozenset(settings.source_url_allowed_hosts),
    )
    prober = Prober(settings.probe_limits, parallel=settings.probe_parallel)
    media = MediaCommands(database, outbox, ObjectStorage(settings.storage_url), prober)
    events = EventHandlers(outbox, waker, PublishRules(settings.retry_policy, settings.patience))
    redelivery = Redelivery(publisher, service=settings.service)

    def consumer(prefetch: int) -> Consumer:
        grace = settings.shutdown_grace_seconds / 2
        return Consumer(settings.amqp_url, redelivery, service=settings.service, prefetch=prefetch, grace=grace)

    main, slow = consumer(queues.COMMANDS.prefetch), consumer(queues.MEDIA.prefetch)
    post_handling = CommandHandling(database, tables.inbox, publisher, commands.routes())
    media_handling = CommandHandling(database, tables.inbox, publisher, media.routes())
    main.subscribe(queues.COMMANDS, post_handling.handle, on_dead=post_handling.on_dead)
    main.subscribe(queues.PUBLISH_RESULTS, handle_events(database, inbox, events.publish_routes()))
    main.subscribe(queues.ACCOUNTS, handle_events(database, inbox, events.account_routes()))
    slow.subscribe(queues.MEDIA, media_handling.handle, on_dead=media_handling.on_dead)
    return create_app(
        service=settings.service,
        title="Cuepost scheduler",
        version="1",
        components=[
            database,
            publisher,
            relay,
            intake,
            Prune(database, inbox, timedelta(days=settings.reply_retention_days)).loop,
            due.loop,
            sweep.moving_loop,
            sweep.held_loop,
            sweep.unwanted_loop,
            main,
            slow,
        ],
        checks=[
            Check("database", database.ping),
            Check("broker", publisher.check),
            Check("consumer", main.check),
            Check("media_consumer", slow.check),
        ],
        routers=[
            posts_router(database, clients.publisher, clients.timeline),
            media_router(database),
            operations_router(database),
        ],
        user_tokens=user_tokens
        or UserTokenVerifier.for_accounts(
            settings.accounts_url, clients.http, issuer=settings.jwt_issuer, audience=settings.jwt_audience
        ),
        service_tokens=ServiceTokenVerifier(settings.service, settings.service_public_keys),
    )


def _clients(settings: Settings, http: httpx.AsyncClient) -> Clients:
    signer = ServiceTokenSigner(settings.service, settings.service_private_key.get_secret_value())
    accounts = ServiceClient(http, settings.accounts_url, audience="accounts", signer=signer)
    return Clients(
        http,
        AccountsClient(accounts),
        CreatorOptions(accounts),
        PublisherClient(ServiceClient(http, settings.publisher_url, audience="publisher", signer=signer)),
        TimelineClient(ServiceClient(http, settings.analytics_url, audience="analytics", signer=signer)),
    )
