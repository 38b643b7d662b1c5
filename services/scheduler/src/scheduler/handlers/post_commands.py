"""Commands about posts: prepare what is slow, then one transaction, then the reply."""

from collections.abc import Sequence
from dataclasses import dataclass

from common.contracts.envelope import Envelope
from common.contracts.scheduler import (
    CancelPost,
    ConfirmPost,
    CreatePost,
    CreatePosts,
    PublishPostNow,
    RetryPost,
    UpdatePost,
)
from common.database.database import Database, Transaction
from common.messaging.outbox import Outbox
from common.messaging.reply import Reply
from common.messaging.routes import CommandRoute, on_command, on_prepared_command
from scheduler.clients.publisher_places import PublisherPlaces
from scheduler.domain.post import Post
from scheduler.encoding import etag, post_json
from scheduler.storage.accounts import get_account
from scheduler.storage.posts import get_post
from scheduler.usecases.apply_publish_event import PublishRules
from scheduler.usecases.cancel_post import UNDECIDED, Asked, ask_publisher, cancel_post
from scheduler.usecases.confirm_post import confirm_post
from scheduler.usecases.create_post import create_post, owner
from scheduler.usecases.create_posts import Batch, create_posts, prepare_posts
from scheduler.usecases.judge_posts import Candidate
from scheduler.usecases.look_before_retry import LastLook, look_before_retry, needs_look, settle_as_live
from scheduler.usecases.problems import post_not_found
from scheduler.usecases.publish_post_now import publish_post_now
from scheduler.usecases.retry_post import require_account, retry_post
from scheduler.usecases.surroundings import Surveyor
from scheduler.usecases.update_post import EditPlan, require_editable, update_post
from scheduler.usecases.waker import Waker
from scheduler.usecases.wanted_post import want_change, want_post


@dataclass(frozen=True, slots=True)
class PostCommands:
    """Handlers of the post commands with what they need."""

    database: Database
    outbox: Outbox
    waker: Waker
    surveyor: Surveyor
    publisher: PublisherPlaces
    allowed_hosts: frozenset[str]
    rules: PublishRules

    def routes(self) -> Sequence[CommandRoute]:
        """Return the routes for the command queue."""
        return (
            on_prepared_command(CreatePost, self.prepare_create, self.create),
            on_prepared_command(CreatePosts, self.prepare_bulk, self.create_bulk),
            on_prepared_command(UpdatePost, self.prepare_update, self.update),
            on_command(PublishPostNow, self.publish_now),
            on_prepared_command(RetryPost, self.prepare_retry, self.retry),
            on_command(ConfirmPost, self.confirm),
            on_prepared_command(CancelPost, self.prepare_cancel, self.cancel),
        )

    async def prepare_create(self, command: CreatePost, envelope: Envelope) -> Candidate:
        """Read the post, find its account and ask for the creator's privacy levels, all outside the transaction."""
        wanted = want_post(command, now=envelope.time, allowed_hosts=self.allowed_hosts)
        around = await self.surveyor.look_around_one(wanted, owner(envelope))
        return Candidate(wanted, around)

    async def create(self, tx: Transaction, _: CreatePost, envelope: Envelope, candidate: Candidate) -> Reply:
        """Store the post: 201 with the post."""
        post = await create_post(tx, self.outbox, self.waker, candidate, envelope)
        return _shown(post, 201, {"Location": f"/api/v1/posts/{post.id}"})

    async def prepare_bulk(self, command: CreatePosts, envelope: Envelope) -> Batch:
        """Read the rows and ask about their accounts."""
        return await prepare_posts(
            self.surveyor, command, owner(envelope), now=envelope.time, allowed_hosts=self.allowed_hosts
        )

    async def create_bulk(self, tx: Transaction, command: CreatePosts, envelope: Envelope, batch: Batch) -> Reply:
        """Store the rows that may be stored: 200 with the verdicts; when nothing was stored, its key is not used up."""
        body = await create_posts(tx, self.outbox, self.waker, command, batch, envelope)
        return Reply(status=200, body=body, replayable=body["created"] > 0)

    async def prepare_update(self, command: UpdatePost, envelope: Envelope) -> EditPlan:
        """Read what the post would become, and ask about its account."""
        user_id = owner(envelope)
        async with self.database.read() as connection:
            post = await get_post(connection, command.post_id, user_id)
        if post is None:
            raise post_not_found()
        require_editable(post, command.if_match, sent_at=envelope.time)
        wanted = want_change(post, command.changes.given, now=envelope.time, allowed_hosts=self.allowed_hosts)
        around = await self.surveyor.look_around_one(wanted, user_id)
        return EditPlan.of(wanted, around)

    async def update(self, tx: Transaction, command: UpdatePost, envelope: Envelope, plan: EditPlan) -> Reply:
        """Change the post: 200 with the post."""
        post = await update_post(
            tx,
            self.outbox,
            self.waker,
            command.post_id,
            command.changes.given,
            plan,
            envelope,
            user_id=owner(envelope),
            allowed_hosts=self.allowed_hosts,
            if_match=command.if_match,
        )
        return _shown(post, 200)

    async def publish_now(self, tx: Transaction, command: PublishPostNow, envelope: Envelope) -> Reply:
        """Make the post due: 202 with the post."""
        user_id, sent_at, context = owner(envelope), envelope.time, envelope.context
        post = await publish_post_now(tx, self.outbox, self.waker, command.post_id, user_id, sent_at=sent_at, context=context)
        return _shown(post, 202)

    async def prepare_retry(self, command: RetryPost, envelope: Envelope) -> LastLook | None:
        """Let TikTok be asked once more about a post that may be live; through an account that cannot be, nobody is."""
        user_id = owner(envelope)
        async with self.database.read() as connection:
            post = await get_post(connection, command.post_id, user_id)
            if not needs_look(post, confirm_not_published=command.confirm_not_published):
                return None
            if post.account_id is not None:
                require_account(await get_account(connection, post.account_id, user_id))
        return await look_before_retry(self.publisher, post, command.not_videos)

    async def retry(self, tx: Transaction, command: RetryPost, envelope: Envelope, look: LastLook | None) -> Reply:
        """Give the post another attempt: 202 with the post; one that is live after all is published instead: 200 with the post."""
        if look is not None and look.live is not None:
            user_id = owner(envelope)
            live = await settle_as_live(tx, self.outbox, self.waker, self.rules, command.post_id, user_id, look)
            return _shown(live, 200)
        post = await retry_post(
            tx,
            self.outbox,
            self.waker,
            command.post_id,
            owner(envelope),
            confirm_not_published=command.confirm_not_published,
            look=look,
            allow_duplicate=command.allow_duplicate,
            sent_at=envelope.time,
            context=envelope.context,
        )
        return _shown(post, 202)

    async def confirm(self, tx: Transaction, command: ConfirmPost, envelope: Envelope) -> Reply:
        """Settle the post as published: 200 with the post."""
        user_id, video_id = owner(envelope), command.tiktok_video_id
        post = await confirm_post(tx, self.outbox, command.post_id, user_id, video_id, context=envelope.context)
        return _shown(post, 200)

    async def prepare_cancel(self, command: CancelPost, envelope: Envelope) -> Asked:
        """Look at the post, and get the publisher's word if it has it in hand."""
        async with self.database.read() as connection:
            post = await get_post(connection, command.post_id, owner(envelope))
        return await ask_publisher(self.publisher, post, sent_at=envelope.time)

    async def cancel(self, tx: Transaction, command: CancelPost, envelope: Envelope, asked: Asked) -> Reply:
        """Cancel the post or take it off the lists: 204; or tell that it is not decided, or what has become of that."""
        refusal = await cancel_post(tx, self.outbox, command.post_id, owner(envelope), asked, context=envelope.context)
        if refusal is None:
            return Reply(status=204)
        # Who asks again is to be told what is known by then; that it was too late is told once, and to each repeat of the request.
        return Reply.of_problem(refusal).model_copy(update={"replayable": refusal.status != UNDECIDED})


def _shown(post: Post, status: int, headers: dict[str, str] | None = None) -> Reply:
    return Reply(status=status, body=post_json(post), headers={**(headers or {}), "ETag": etag(post)})
