"""Commands about posts: prepare what is slow, then one transaction, then the reply."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from common.contracts.envelope import Envelope
from common.contracts.scheduler import CancelPost, CreatePost, PublishPostNow
from common.database.database import Database, Transaction
from common.messaging.outbox import Outbox
from common.messaging.reply import Reply
from common.messaging.routes import CommandRoute, on_command, on_prepared_command
from scheduler.clients.accounts import AccountsClient
from scheduler.clients.creator_options import CreatorOptions
from scheduler.clients.publisher import PublisherClient
from scheduler.domain.account_copy import AccountCopy
from scheduler.domain.finding import Finding
from scheduler.domain.post_rules import check_privacy_options
from scheduler.encoding import etag, post_json
from scheduler.storage.posts import get_post
from scheduler.usecases.cancel_post import Word, ask_publisher, cancel_post
from scheduler.usecases.choose_account import choose_account
from scheduler.usecases.create_post import CheckedPost, check_command, create_post, owner
from scheduler.usecases.problems import problem_of
from scheduler.usecases.publish_post_now import publish_post_now
from scheduler.usecases.waker import Waker

PRIVACY_UNCHECKED = Finding(
    "privacy_level",
    "privacy_unchecked",
    "TikTok could not be asked which privacy levels this creator may choose; it is checked again before publishing.",
)


@dataclass(frozen=True, slots=True)
class PostCommands:
    """Handlers of the post commands with what they need."""

    database: Database
    outbox: Outbox
    waker: Waker
    accounts: AccountsClient
    creators: CreatorOptions
    publisher: PublisherClient
    allowed_hosts: frozenset[str]

    def routes(self) -> Sequence[CommandRoute]:
        """Return the routes for the command queue."""
        return (
            on_prepared_command(CreatePost, self.prepare_create, self.create),
            on_command(PublishPostNow, self.publish_now),
            on_prepared_command(CancelPost, self.prepare_cancel, self.cancel),
        )

    async def prepare_create(self, command: CreatePost, envelope: Envelope) -> CheckedPost:
        """Check the command, find its account and ask for the creator's privacy levels, all outside the transaction."""
        user_id = owner(envelope)
        checked = check_command(command, now=envelope.time, allowed_hosts=self.allowed_hosts)
        if command.draft and command.tiktok_account_id is None:
            return checked
        account = await choose_account(self.database, self.accounts, user_id, command.tiktok_account_id)
        warnings = await self._check_privacy(command, account)
        return replace(checked, account_id=account.id, warnings=(*checked.warnings, *warnings))

    async def create(self, tx: Transaction, command: CreatePost, envelope: Envelope, checked: CheckedPost) -> Reply:
        """Store the post: 201 with the post."""
        post = await create_post(tx, self.outbox, self.waker, command, checked, envelope)
        return Reply(status=201, body=post_json(post), headers={"Location": f"/api/v1/posts/{post.id}", "ETag": etag(post)})

    async def publish_now(self, tx: Transaction, command: PublishPostNow, envelope: Envelope) -> Reply:
        """Make the post due: 202 with the post."""
        post = await publish_post_now(
            tx,
            self.outbox,
            self.waker,
            command.post_id,
            owner(envelope),
            context=envelope.context,
        )
        return Reply(status=202, body=post_json(post), headers={"ETag": etag(post)})

    async def prepare_cancel(self, command: CancelPost, envelope: Envelope) -> Word | None:
        """Get the publisher's word on a post that it has in hand."""
        async with self.database.read() as connection:
            post = await get_post(connection, command.post_id, owner(envelope))
        return await ask_publisher(self.publisher, post)

    async def cancel(self, tx: Transaction, command: CancelPost, envelope: Envelope, word: Word | None) -> Reply:
        """Cancel the post or take it off the lists: 204."""
        await cancel_post(tx, self.outbox, command.post_id, owner(envelope), word, context=envelope.context)
        return Reply(status=204)

    async def _check_privacy(self, command: CreatePost, account: AccountCopy) -> Sequence[Finding]:
        if command.mode != "direct" or command.privacy_level is None or account.status != "active":
            return ()
        options = await self.creators.privacy_levels(account.id, account.user_id)
        if options is None:
            return (PRIVACY_UNCHECKED,)
        finding = check_privacy_options(command.privacy_level, options)
        if finding is not None:
            raise problem_of([finding])
        return ()
