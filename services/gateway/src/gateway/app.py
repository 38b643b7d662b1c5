"""Composition root of the gateway: the only place that wires."""

from functools import partial

from fastapi import FastAPI
from starlette.middleware import Middleware

from common.auth.keys import b64url_decode
from common.auth.service_tokens import ServiceTokenSigner
from common.auth.user_tokens import UserTokenVerifier
from common.http.app import create_app
from common.http.body_guard import Pace as BodyPace
from common.http.client import ServiceClient, internal_client
from common.http.health import Check
from common.messaging.command_client import CommandClient
from common.messaging.connection import PROBE_TIMEOUT_S
from common.places import Places
from common.settings import load
from gateway.api.allow import install_allow
from gateway.api.documents import install_openapi
from gateway.api.drain import DrainRefusedBody
from gateway.api.head import HeadAsGet
from gateway.api.large_body import ORDINARY_BODY_BYTES
from gateway.api.routes import accounts, analytics, audit, auth, events, jwks, media, operations, posts, tiktok, webhooks
from gateway.clients.accounts_client import AccountsClient
from gateway.clients.event_log import EventLog
from gateway.clients.event_sender import EventSender
from gateway.clients.object_store import ObjectStore
from gateway.clients.s3_requests import S3Access
from gateway.clients.unfinished_parts import UnfinishedParts
from gateway.clients.upstreams import HttpClient, Upstreams
from gateway.domain.client_address import parse_networks
from gateway.edge import Edge
from gateway.handlers.live_feed import LiveFeed
from gateway.handlers.revocation_feed import RevocationFeed
from gateway.loops import kept_commands_loop, stale_uploads_loop
from gateway.security.api_keys import ApiKeyTokens
from gateway.security.authenticator import Authenticator
from gateway.security.guesses import Guesses
from gateway.security.https_only import HttpsOnly
from gateway.security.rate_limit_headers import RateLimitHeaders
from gateway.security.rate_limits import RateLimits
from gateway.security.revocations import RevokedSet
from gateway.settings import Settings
from gateway.usecases.follow_events import EventFollower, Pace
from gateway.usecases.keep_commands import KeptCommands
from gateway.usecases.live_streams import LiveStreams
from gateway.usecases.receive_webhook import WebhookApp, Webhooks
from gateway.usecases.run_command import Commands
from gateway.usecases.tell_refusals import AccessRefusals
from gateway.usecases.trail_proof import TrailProof

VERSION = "1.0.0"

ROUTES = (posts, media, accounts, auth, tiktok, webhooks, analytics, audit, events, operations, jwks)

LIVE_RECHECK_S = 30.0
"""How often an open stream's token is looked at again: it expires; what is revoked ends the stream at once."""

EXPORTS, EXPORTS_PER_USER = 16, 2
"""Each holds a connection to analytics for as long as its client takes: they must not use up those that everybody needs."""

LARGE_BODIES, LARGE_BODIES_PER_USER = 4, 2
"""Batches beyond the ordinary limit in hand: what is made of one takes several times its size."""
WAITING, WAITING_PER_USER = 200, 20
"""Of large batches, and of uploads, that wait for a place. Each keeps a connection, and nothing of its body."""


def build() -> tuple[FastAPI, Settings]:
    """Read the settings from the environment and return the app with them; exits with status 2 when they are malformed."""
    settings = load(Settings)
    return build_app(settings), settings


def build_app(settings: Settings) -> FastAPI:
    """Return the app, wired but not started."""
    http = HttpClient(internal_client())
    signer = ServiceTokenSigner(settings.service, settings.service_private_key.get_secret_value())
    to_accounts = ServiceClient(http.client, settings.accounts_url, audience="accounts", signer=signer)
    to_scheduler = ServiceClient(http.client, settings.scheduler_url, audience="scheduler", signer=signer)
    to_analytics = ServiceClient(http.client, settings.analytics_url, audience="analytics", signer=signer)
    accounts_client = AccountsClient(to_accounts)
    tokens = UserTokenVerifier.for_accounts(
        settings.accounts_url, http.client, issuer=settings.jwt_issuer, audience=settings.jwt_audience
    )
    revoked = RevokedSet(unread_at_most=settings.revocations_unread_seconds)
    api_keys = ApiKeyTokens(accounts_client.exchange_api_key)
    revoked.on_revoked(api_keys.forget)
    feed = RevocationFeed(
        settings.amqp_url, instance=settings.instance, revoked=revoked, read=accounts_client.read_revocations
    )
    commands = CommandClient(
        settings.amqp_url, prefix="gateway.replies", instance=settings.instance, timeout=settings.command_timeout_seconds
    )
    operation_key = b64url_decode(settings.operation_key.get_secret_value())
    store = ObjectStore(settings.storage_url)
    # Half as long as services remember what they have run: a command that comes later may not be known as a repeat any more.
    kept = KeptCommands(store, commands, key=operation_key, max_age=settings.reply_retention / 2)
    rate_limits = RateLimits(
        per_user=settings.rate_limit_per_user,
        per_address=settings.rate_limit_per_address,
        storage=settings.rate_limit_storage,
    )
    live_streams = LiveStreams(revoked)
    live_feed = LiveFeed(settings.amqp_url, instance=settings.instance, streams=live_streams)
    pace = Pace(heartbeat=settings.live_heartbeat_seconds, recheck=LIVE_RECHECK_S)
    event_sender = EventSender(settings.amqp_url, name=f"gateway.events.{settings.instance}")
    access_refusals = AccessRefusals(event_sender)
    app = create_app(
        service=settings.service,
        title="Cuepost",
        version=VERSION,
        components=[
            http,
            commands,
            event_sender,
            access_refusals,
            feed,
            live_feed,
            rate_limits,
            stale_uploads_loop(store, unfinished_parts(settings)),
            kept_commands_loop(kept),
        ],
        checks=[
            Check("storage", partial(store.size, "uploads/tmp/readiness")),
            Check("broker", commands.check, timeout_seconds=PROBE_TIMEOUT_S + 1),
        ],
        routers=[module.router for module in ROUTES],
        docs=True,
        user_tokens=tokens,
        behind_gateway=False,
        body_limit_bytes=ORDINARY_BODY_BYTES,
        upload_prefixes=[media.UPLOAD_PATH, webhooks.PATH, posts.BULK_PATH],
        middleware=_transport(settings),
    )
    proof = TrailProof(commands, live_feed.trail_queue)
    app.state.edge = Edge(
        authenticator=Authenticator(tokens, api_keys, revoked),
        rate_limits=rate_limits,
        guesses=Guesses(rate_limits),
        upstreams=Upstreams({"accounts": to_accounts, "scheduler": to_scheduler, "analytics": to_analytics}),
        accounts=accounts_client,
        commands=Commands(commands, kept, operation_key=operation_key),
        webhooks=Webhooks(
            WebhookApp(settings.tiktok_client_key, settings.tiktok_client_secret, settings.webhook_tolerance_seconds),
            event_sender,
        ),
        store=store,
        operation_key=operation_key,
        reply_retention=settings.reply_retention,
        trusted_proxies=parse_networks(settings.trusted_proxies),
        upload_max_bytes=settings.upload_max_bytes,
        upload_pace=BodyPace(settings.upload_stall_seconds, settings.upload_min_bytes_per_second),
        uploads=Places(
            in_all=settings.uploads,
            per_user=settings.uploads_per_user,
            waiting_in_all=WAITING,
            waiting_per_user=WAITING_PER_USER,
        ),
        exports=Places(in_all=EXPORTS, per_user=EXPORTS_PER_USER),
        large_bodies=Places(
            in_all=LARGE_BODIES,
            per_user=LARGE_BODIES_PER_USER,
            waiting_in_all=WAITING,
            waiting_per_user=WAITING_PER_USER,
        ),
        live_feed=live_feed,
        live_streams=live_streams,
        live_places=Places(in_all=settings.live_streams, per_user=settings.live_streams_per_user),
        access_refusals=access_refusals,
        follower=EventFollower(EventLog(to_analytics), proof.given, proof.doubtful, pace),
    )
    app.state.feed = feed
    live_feed.end_with(app.state.stopping)
    app.add_middleware(RateLimitHeaders)
    app.add_middleware(DrainRefusedBody)
    app.add_middleware(HeadAsGet)
    install_allow(app)
    install_openapi(
        app, public_url=settings.public_url, models=[*auth.BODIES, *accounts.BODIES, *posts.BODIES, *webhooks.BODIES]
    )
    return app


def _transport(settings: Settings) -> list[Middleware]:
    if not settings.require_https:
        return []
    trusted = parse_networks(settings.trusted_proxies)
    return [Middleware(HttpsOnly, trusted_proxies=trusted, max_age_seconds=settings.hsts_max_age_seconds)]


def unfinished_parts(settings: Settings) -> UnfinishedParts | None:
    """Return what finds parts that killed processes left in a bucket; None for a folder, and without a key of our own.

    A key that the machine's role provides is known to the store's client alone: then the bucket's own rule has to do it.
    """
    if not settings.storage_url.startswith("s3://") or not settings.aws_access_key_id:
        return None
    access = S3Access(
        settings.aws_access_key_id,
        settings.aws_secret_access_key,
        settings.aws_region,
        settings.aws_endpoint_url,
        settings.aws_session_token,
    )
    return UnfinishedParts(settings.storage_url, access)
