"""The part of the composition root that takes commands and webhooks, and ends the grants of disconnected accounts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import httpx

from accounts.access_tokens import AccessTokens
from accounts.clients.profiles import ProfileReader
from accounts.clients.publish_jobs import PublishJobs
from accounts.grant_revoker import GrantRevoker
from accounts.handlers import queues
from accounts.handlers.account_commands import AccountCommands
from accounts.handlers.publish_news import PublishNews
from accounts.handlers.sync_commands import SyncCommands
from accounts.handlers.tiktok_webhooks import TikTokWebhooks
from accounts.loops.revoke_grants import RevokeGrants, RevokeRules
from accounts.profile_syncs import ProfileSyncs
from accounts.settings import Settings
from accounts.storage.tables import inbox_messages
from common.auth.service_tokens import ServiceTokenSigner
from common.database import Database
from common.http.client import ServiceClient, internal_client
from common.http.components import Component
from common.http.health import Check
from common.messaging.commands import CommandHandling
from common.messaging.consumer import Consumer
from common.messaging.dead_letters import Redelivery
from common.messaging.inbox import Inbox
from common.messaging.outbox import Outbox
from common.messaging.publisher import MessagePublisher
from common.messaging.routes import CommandRoute
from common.messaging.topology import QueueSpec


@dataclass(frozen=True, slots=True)
class Wires:
    """What the command side shares with the rest of the service."""

    settings: Settings
    database: Database
    publisher: MessagePublisher
    outbox: Outbox
    tokens: AccessTokens
    profiles: ProfileReader
    batch_profiles: ProfileReader
    revoker: GrantRevoker


class InternalHttp:
    """A component that owns the connections to the other services."""

    def __init__(self) -> None:
        self.client: httpx.AsyncClient = internal_client(max_connections=20)

    async def start(self) -> None:
        """Do nothing: connections are made on first use."""

    async def stop(self) -> None:
        """Close the connections."""
        await self.client.aclose()


@dataclass(frozen=True, slots=True)
class CommandSide:
    """The wired parts, in the order of starting, and their checks of readiness."""

    components: Sequence[Component]
    checks: Sequence[Check]


def command_side(wires: Wires) -> CommandSide:
    """Wire the consumers of quick and of slow commands and of webhooks, and the loop that revokes grants."""
    settings, http = wires.settings, InternalHttp()
    signer = ServiceTokenSigner(settings.service, settings.service_private_key.get_secret_value())
    jobs = PublishJobs(ServiceClient(http.client, settings.publisher_url, audience="publisher", signer=signer))
    check_every = timedelta(seconds=settings.disconnect_check_seconds)
    revoking = RevokeGrants(wires.database, jobs, wires.revoker, RevokeRules(check_every))
    changes = AccountCommands(
        wires.outbox, revoking.wake, check_every, timedelta(seconds=settings.disconnect_patience_seconds)
    )
    syncs = SyncCommands(
        wires.outbox,
        ProfileSyncs(wires.database, wires.tokens, wires.profiles),
        ProfileSyncs(wires.database, wires.tokens, wires.batch_profiles),
    )
    quick = _consumer(wires, [queues.COMMANDS], changes.routes())
    slow = _consumer(wires, [queues.SYNC, queues.BATCHES], syncs.routes())
    slow.subscribe(queues.WEBHOOKS, _webhooks(wires).handle)
    slow.subscribe(queues.PUBLISH_NEWS, _publish_news(wires).handle)
    checks = [Check("consumer", quick.check), Check("sync_consumer", slow.check)]
    return CommandSide([http, revoking, quick, slow], checks)


def _webhooks(wires: Wires) -> TikTokWebhooks:
    return TikTokWebhooks(
        client_key=wires.settings.tiktok_client_key,
        database=wires.database,
        inbox=Inbox(inbox_messages),
        outbox=wires.outbox,
        tokens=wires.tokens,
        profiles=wires.profiles,
    )


def _publish_news(wires: Wires) -> PublishNews:
    return PublishNews(wires.database, wires.outbox, wires.tokens, wires.profiles, wires.settings.required_scopes)


def _consumer(wires: Wires, taken: Sequence[QueueSpec], routes: Sequence[CommandRoute]) -> Consumer:
    """Return a consumer of its own: slow commands hold up no quick one."""
    settings = wires.settings
    redelivery = Redelivery(wires.publisher, service=settings.service)
    # They stop one after the other, and what else there is to stop wants its share of the time, too.
    grace = settings.shutdown_grace_seconds / 4
    consumer = Consumer(settings.amqp_url, redelivery, service=settings.service, grace=grace)
    handling = CommandHandling(wires.database, inbox_messages, wires.publisher, routes)
    for queue in taken:
        consumer.subscribe(queue, handling.handle, on_dead=handling.on_dead)
    return consumer
