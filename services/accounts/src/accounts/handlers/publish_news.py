"""What the publisher learns of an account by posting: TikTok refuses its posts, or takes them again.

The publisher makes such posts wait by itself; here their account tells its owner why. A word about the grant is only ever a reason
to ask TikTok, whose answer decides. Words come late, twice and in any order: the time of each decides, not when it is heard.
"""

from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from accounts.access_tokens import AccessTokens
from accounts.clients.profiles import ProfileReader
from accounts.domain.account import Account, AccountStatus
from accounts.domain.scopes import missing_scopes, taken_away
from accounts.grant_check import still_works
from accounts.security.opaque import hex_digest
from accounts.storage.account_reads import find_account
from accounts.storage.account_tokens import find_pair
from accounts.storage.refusals import heard_of, note_acceptance, note_refusal
from accounts.usecases.expire_account import expire_account
from common.clock import utc_now
from common.contracts.envelope import Envelope
from common.contracts.publisher import PublishDeferred, PublishSubmitted
from common.contracts.registry import parse
from common.database import Database
from common.errors import Problem, Transient
from common.messaging.incoming import Incoming, work_for
from common.messaging.outbox import Outbox

TIKTOKS = "tiktok_"
"""What TikTok's own codes begin with at the publisher; others are about what accounts told it."""
TOKEN_REFUSED = TIKTOKS + "access_token_invalid"
SCOPE_REFUSED = TIKTOKS + "scope_not_authorized"
NOT_ACCEPTED = "TikTok renews the access, but does not accept it any more."
SETTLED_WITHIN = timedelta(days=1)
"""For so long a word about the grant waits for TikTok's; by then an access token has been renewed many times."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PublishNews:
    """Handles the queue of what the publisher tells; `required_scopes` are those without which connecting is refused."""

    database: Database
    outbox: Outbox
    tokens: AccessTokens
    profiles: ProfileReader
    required_scopes: tuple[str, ...]

    async def handle(self, incoming: Incoming) -> None:
        """Take one delivery; handled again, it changes nothing. Raises Transient while TikTok does not say how the grant is."""
        envelope = incoming.envelope()
        with work_for(envelope):
            if envelope.key == PublishSubmitted.KEY:
                await self._taken(envelope, parse(envelope, PublishSubmitted))
            elif envelope.key == PublishDeferred.KEY:
                await self._deferred(envelope, parse(envelope, PublishDeferred))

    async def _taken(self, envelope: Envelope, event: PublishSubmitted) -> None:
        if event.again:
            return
        # A draft has no privacy level; everything else has one.
        mode = "inbox" if event.privacy_level is None else "direct"
        async with self.database.transaction() as tx:
            await note_acceptance(tx.connection, event.account_id, mode, at=envelope.time)

    async def _deferred(self, envelope: Envelope, event: PublishDeferred) -> None:
        if event.again or event.mode is None or event.until is not None or not event.code.startswith(TIKTOKS):
            return
        async with self.database.read() as connection:
            account = await find_account(connection, event.account_id)
            heard = await heard_of(connection, event.account_id, event.mode)
        if account is None or account.status is AccountStatus.EXPIRED or not heard.is_news(event.code, envelope.time):
            return
        try:
            if await self._is_over(envelope, account, event.code):
                return
        except Transient as error:
            until = envelope.time + SETTLED_WITHIN
            raise Transient(str(error), retry_after=error.retry_after, until=until) from error
        log.warning("account_refused", account_id=str(account.id), mode=event.mode, code=event.code, log_id=event.log_id)
        async with self.database.transaction() as tx:
            if event.code == TOKEN_REFUSED:
                # TikTok takes the token, as was just seen: the refusal has passed, and so have those of the posts beside this one.
                await note_acceptance(tx.connection, account.id, event.mode, at=utc_now())
                return
            message = f"TikTok takes no posts of mode {event.mode} at the moment. {event.message} {event.hint or ''}".rstrip()
            await note_refusal(tx.connection, account.id, event.mode, code=event.code, message=message, at=envelope.time)

    async def _is_over(self, envelope: Envelope, account: Account, code: str) -> bool:
        """Whether the account has to be connected again, by TikTok's word; then it is expired, and says why."""
        async with self.database.read() as connection:
            pair = await find_pair(connection, account.id)
        if pair is None or code not in {TOKEN_REFUSED, SCOPE_REFUSED}:
            return False
        if code == SCOPE_REFUSED:
            lacking = await self._lacking(account)
            if not lacking:
                return False
            async with self.database.read() as connection:
                pair = await find_pair(connection, account.id) or pair
            reason = taken_away(lacking)
        elif await still_works(self.tokens, self.profiles, account.id, account.open_id):
            return False
        else:
            reason = NOT_ACCEPTED
        context = replace(envelope.context, user_id=account.user_id)
        async with self.database.transaction() as tx:
            expired = await expire_account(
                tx, self.outbox, context, account_id=account.id, pair_id=pair.pair_id, reason=reason
            )
        log.warning("account_grant_unusable", account_id=str(account.id), code=code, expired=expired)
        return expired

    async def _lacking(self, account: Account) -> tuple[str, ...]:
        """Return the rights that posting needs and that the grant lacks, by what TikTok says as it renews the access."""
        try:
            stored = await self.tokens.get(account.id)
            renewed = await self.tokens.get(account.id, rejected_sha256=hex_digest(stored.token))
        except Problem as problem:
            if problem.status == 503:
                raise Transient(f"TikTok does not say what the access allows: {problem.code}") from None
            # It has expired just now, or was disconnected: that says why.
            return ()
        return missing_scopes(renewed.scopes, self.required_scopes)
