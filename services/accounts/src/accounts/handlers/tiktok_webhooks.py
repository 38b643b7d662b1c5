"""What TikTok tells by webhook: a creator, or TikTok, withdrew the access.

Webhooks come late, twice and in any order, so what counts is when the access was removed, not when we hear of it. Unless that was
before TikTok gave us the grant we hold, TikTok is asked whether its token still works: what does, also some minutes later, is not
declared expired. Where a refresh was first to learn that the grant is gone, the webhook still gives the reason.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import structlog

from accounts.access_tokens import AccessTokens
from accounts.clients.profiles import ProfileReader
from accounts.domain.account import AccountStatus
from accounts.domain.withdrawal import is_of_an_older_grant
from accounts.grant_check import still_works
from accounts.metrics import WITHDRAWALS_PUT_OFF
from accounts.storage.held_grants import HeldGrant, find_held_grant
from accounts.token_refresher import GRANT_GONE
from accounts.usecases.expire_account import expire_account
from accounts.usecases.explain_expiry import explain_expiry
from common.clock import utc_now
from common.contracts.context import Context
from common.contracts.envelope import Envelope
from common.contracts.gateway import WebhookReceived
from common.contracts.registry import parse
from common.database import Database
from common.errors import Permanent, Transient
from common.messaging.inbox import Inbox
from common.messaging.incoming import Incoming, work_for
from common.messaging.outbox import Outbox
from tiktok.webhooks import AUTHORIZATION_REMOVED, RemovalReason, WebhookRefused, removal_reason

log = structlog.get_logger(__name__)

ACCEPTED_FOR = timedelta(minutes=5)
"""TikTok may go on taking a token for a while after the access was removed: one that works sooner than this proves nothing."""
SETTLED_WITHIN = timedelta(days=7)
"""For so long after it happened a withdrawal waits for TikTok's word; then it is a dead letter, which an operator can replay. As
long as the inbox remembers what was handled, and many times the life of an access token: by then a refresh has asked, too."""


@dataclass(frozen=True, slots=True)
class TikTokWebhooks:
    """Handles the queue of webhooks; `client_key` names our app."""

    client_key: str
    database: Database
    inbox: Inbox
    outbox: Outbox
    tokens: AccessTokens
    profiles: ProfileReader

    async def handle(self, incoming: Incoming) -> None:
        """Take one delivery; the effect happens once, however often it comes.

        Other events, other apps and creators whom nobody here has connected are passed over. Raises Permanent for a removal
        that cannot be read, Transient while a refresh is under way, TikTok does not say whether the token works, or has not had
        `ACCEPTED_FOR` to refuse it: then it waits, and is looked at again every five minutes at the latest, for `SETTLED_WITHIN`.
        """
        envelope = incoming.envelope()
        if envelope.key != WebhookReceived.KEY:
            return
        event = parse(envelope, WebhookReceived)
        if event.event != AUTHORIZATION_REMOVED:
            return
        with work_for(envelope):
            if event.client_key != self.client_key:
                log.warning("webhook_of_another_app")
                return
            try:
                await self._removed(incoming, envelope, event)
            except Transient as error:
                WITHDRAWALS_PUT_OFF.inc()
                log.warning("withdrawal_waits", open_id=event.user_openid, attempt=incoming.attempt + 1, reason=str(error))
                until = envelope.time + SETTLED_WITHIN
                raise Transient(str(error), retry_after=error.retry_after, until=until) from error

    async def _removed(self, incoming: Incoming, envelope: Envelope, event: WebhookReceived) -> None:
        reason, removed_at = _reason(event), datetime.fromtimestamp(event.create_time, UTC)
        async with self.database.read() as connection:
            grant = await find_held_grant(connection, event.user_openid)
        if grant is None:
            log.info("withdrawal_of_unknown_account", open_id=event.user_openid)
            return
        if grant.refreshing and grant.status is not AccountStatus.EXPIRED:
            # A pair that TikTok gave before the removal, stored after it was handled, would bring the account back.
            raise Transient("the account's tokens are being refreshed", retry_after=1)
        if grant.status is AccountStatus.EXPIRED:
            await self._explain(incoming, envelope, grant, reason, removed_at)
            return
        if not await self._is_gone(grant, event.user_openid, removed_at):
            log.info("withdrawal_changes_nothing", account_id=str(grant.account_id), removed_at=removed_at)
            return
        async with self.database.transaction() as tx:
            if not await self.inbox.first_time(tx, incoming.queue, envelope.id):
                return
            expired = await expire_account(
                tx,
                self.outbox,
                _context(envelope, grant),
                account_id=grant.account_id,
                pair_id=grant.pair_id,
                reason=reason.value,
            )
            if not expired:
                raise Transient("the account's grant changed meanwhile", retry_after=1)
        log.info("account_withdrawn", account_id=str(grant.account_id), reason=reason.name.lower())

    async def _explain(
        self, incoming: Incoming, envelope: Envelope, grant: HeldGrant, reason: RemovalReason, removed_at: datetime
    ) -> None:
        """Give the reason to an account of which a refresh learned first, without one, that its grant is gone."""
        explained = False
        if not is_of_an_older_grant(removed_at, grant.obtained_at):
            async with self.database.transaction() as tx:
                if not await self.inbox.first_time(tx, incoming.queue, envelope.id):
                    return
                explained = await explain_expiry(
                    tx,
                    self.outbox,
                    _context(envelope, grant),
                    account_id=grant.account_id,
                    pair_id=grant.pair_id,
                    unexplained=GRANT_GONE,
                    reason=reason.value,
                )
        outcome = "withdrawal_explained" if explained else "withdrawal_changes_nothing"
        log.info(outcome, account_id=str(grant.account_id), removed_at=removed_at)

    async def _is_gone(self, grant: HeldGrant, open_id: str, removed_at: datetime) -> bool:
        """Return whether the grant was withdrawn; raises Transient while that cannot be told."""
        if is_of_an_older_grant(removed_at, grant.obtained_at):
            return False
        if not await still_works(self.tokens, self.profiles, grant.account_id, open_id):
            return True
        too_early = removed_at + ACCEPTED_FOR - utc_now()
        if too_early > timedelta(0):
            raise Transient("the token works, which so soon proves nothing", retry_after=too_early.total_seconds())
        return False


def _context(envelope: Envelope, grant: HeldGrant) -> Context:
    """Correlated with the webhook, caused by it, and about the account's owner; the address is TikTok's."""
    return replace(envelope.context, user_id=grant.user_id)


def _reason(event: WebhookReceived) -> RemovalReason:
    try:
        return removal_reason(event.content)
    except WebhookRefused as refused:
        raise Permanent(f"{event.event}: {refused.reason}") from None
