"""Composition root of accounts: the only place that wires."""

from dataclasses import dataclass
from datetime import timedelta

import httpx
from fastapi import FastAPI

from accounts.access_tokens import AccessTokens
from accounts.api import accounts, api_keys, auth, creator_info, keys, operations, passwords, service_accounts, tiktok
from accounts.call_pace import USER_INFO, BatchPace, CallPace, CreatorInfoPace
from accounts.clients.profiles import ProfileReader
from accounts.command_side import Wires, command_side
from accounts.creator_infos import CreatorInfos
from accounts.domain.throttle import ThrottleRule
from accounts.grant_revoker import GrantRevoker
from accounts.login_turns import LoginTurns
from accounts.loops.held_keys import HeldKeys
from accounts.loops.retention import Retention
from accounts.loops.token_gauges import TokenGauges
from accounts.loops.token_refresh import TokenRefreshLoop
from accounts.parts import Parts
from accounts.security.key_store import KeyStore
from accounts.security.passwords import Argon2Cost, Passwords
from accounts.security.user_jwts import UserJwts
from accounts.security.vault import Vault
from accounts.settings import Settings
from accounts.storage.tables import outbox_messages
from accounts.token_refresher import TokenRefresher
from accounts.usecases.login import LoginLimits
from common.auth.service_tokens import ServiceTokenVerifier
from common.auth.user_tokens import UserTokenVerifier
from common.database import Database
from common.http.app import create_app
from common.http.health import Check
from common.messaging.outbox import Outbox
from common.messaging.publisher import MessagePublisher
from common.messaging.relay import Relay
from common.settings import ServiceSettings, load
from tiktok.display import UserClient
from tiktok.oauth import OAuthClient
from tiktok.posting import PostingClient

VERSION = "0.1.0"
MAX_TIKTOK_CONNECTIONS = 100
ROUTERS = (
    keys.router,
    auth.router,
    passwords.router,
    api_keys.router,
    tiktok.router,
    accounts.router,
    creator_info.router,
    service_accounts.router,
    operations.router,
)


def build() -> tuple[FastAPI, ServiceSettings]:
    """Read the settings and wire the service."""
    settings = load(Settings)
    return wire(settings), settings


def wire(settings: Settings, *, tiktok_transport: httpx.AsyncBaseTransport | None = None) -> FastAPI:
    """Return the app of a service with these settings; `tiktok_transport` stands in for the way to TikTok in tests."""
    database = Database(settings.database_url, application_name=settings.instance, pool_size=settings.database_pool_size)
    publisher = MessagePublisher(settings.amqp_url, service=settings.service)
    relay = Relay(database, outbox_messages, publisher)
    http = TikTokHttp(tiktok_transport)
    outbox = Outbox(outbox_messages, service=settings.service, wake=relay.wake)
    tiktok_side = _tiktok_side(settings, database, outbox, http.client)
    parts = _parts(settings, database, outbox, relay, tiktok_side)
    commands = command_side(
        Wires(
            settings,
            database,
            publisher,
            outbox,
            tiktok_side.tokens,
            tiktok_side.profiles,
            tiktok_side.batch_profiles,
            tiktok_side.revoker,
        )
    )
    app = create_app(
        service=settings.service,
        title="Cuepost accounts",
        version=VERSION,
        components=[
            database,
            HeldKeys(database, parts.vault, instance=settings.instance, path=settings.encryption_key_file),
            publisher,
            relay,
            http,
            parts.passwords,
            tiktok_side.refresher,
            tiktok_side.refreshes,
            parts.creator_infos,
            Retention(database, replies_kept=timedelta(days=settings.reply_retention_days)),
            TokenGauges(database),
            *commands.components,
        ],
        checks=[Check("database", database.ping), Check("broker", publisher.check), *commands.checks],
        routers=ROUTERS,
        # Starts and stops the key store too: it is the verifier's source of keys.
        user_tokens=UserTokenVerifier(parts.keys, issuer=settings.jwt_issuer, audience=settings.jwt_audience),
        service_tokens=ServiceTokenVerifier(settings.service, settings.service_public_keys),
    )
    app.state.parts = parts
    return app


@dataclass(frozen=True, slots=True)
class TikTokSide:
    """What calls TikTok."""

    vault: Vault
    oauth: OAuthClient
    profiles: ProfileReader
    batch_profiles: ProfileReader
    refresher: TokenRefresher
    refreshes: TokenRefreshLoop
    tokens: AccessTokens
    creator_infos: CreatorInfos
    revoker: GrantRevoker


def _tiktok_side(settings: Settings, database: Database, outbox: Outbox, client: httpx.AsyncClient) -> TikTokSide:
    url, ahead = settings.tiktok_api_url, timedelta(seconds=settings.token_refresh_ahead_seconds)
    vault = Vault(settings.encryption_keys)
    oauth = OAuthClient(client, url, settings.tiktok_client_key, settings.tiktok_client_secret)
    required = settings.required_scopes
    refresher = TokenRefresher(database, vault, outbox, oauth, ahead=ahead, required_scopes=required)
    refreshes = TokenRefreshLoop(database, refresher, concurrency=settings.token_refresh_concurrency)
    refresher.planned = refreshes.wake
    tokens = AccessTokens(database, vault, refresher)
    share = CreatorInfoPace(database).take
    infos = CreatorInfos(tokens, PostingClient(client, url), share, keep_seconds=settings.creator_info_cache_seconds)
    users = UserClient(client, url)
    profiles = ProfileReader(users, CallPace(database, USER_INFO).wait)
    batch_profiles = ProfileReader(users, BatchPace(database).wait)
    revoker = GrantRevoker(database, vault, oauth, refresher)
    return TikTokSide(vault, oauth, profiles, batch_profiles, refresher, refreshes, tokens, infos, revoker)


def _parts(settings: Settings, database: Database, outbox: Outbox, relay: Relay, tiktok_side: TikTokSide) -> Parts:
    keys = KeyStore(database, tiktok_side.vault)
    cost = Argon2Cost(settings.argon2_time_cost, settings.argon2_memory_kib)
    limits = LoginLimits(
        person=ThrottleRule(settings.login_free_failures),
        address=ThrottleRule(settings.login_free_failures_per_address),
    )
    return Parts(
        settings=settings,
        database=database,
        outbox=outbox,
        relay=relay,
        vault=tiktok_side.vault,
        keys=keys,
        jwts=_jwts(settings, keys),
        passwords=Passwords(cost, threads=settings.argon2_threads),
        login_limits=limits,
        login_turns=LoginTurns(limits),
        oauth=tiktok_side.oauth,
        profiles=tiktok_side.profiles,
        tokens=tiktok_side.tokens,
        creator_infos=tiktok_side.creator_infos,
        refresh_planned=tiktok_side.refreshes.wake,
    )


class TikTokHttp:
    """A component that owns the connections to TikTok."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        limits = httpx.Limits(max_connections=MAX_TIKTOK_CONNECTIONS, max_keepalive_connections=20)
        self.client = httpx.AsyncClient(transport=transport, limits=limits, headers={"user-agent": "cuepost"})

    async def start(self) -> None:
        """Do nothing: connections are made on first use."""

    async def stop(self) -> None:
        """Close the connections."""
        await self.client.aclose()


def _jwts(settings: Settings, key_store: KeyStore) -> UserJwts:
    return UserJwts(
        key_store,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        session_life=timedelta(seconds=settings.access_token_ttl_seconds),
        api_key_life=timedelta(seconds=settings.api_key_token_ttl_seconds),
    )
