"""Somebody who uses, watches, breaks and heals one running stack."""

import asyncio
import secrets
import signal
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import aio_pika
import asyncpg
import httpx
import orjson
import psutil

from common.ids import uuid7
from demo.api import Creator, Cuepost
from localstack.errors import StackError
from localstack.rabbitmq import broker_url
from localstack.service_environment import public_url
from localstack.stack import Stack
from system.events import EventRecorder
from system.reader import Reader
from system.waiting import wait_for

OWN_CAPTION = "system "
FINAL = {"published", "failed", "unconfirmed", "cancelled"}


class Operator:
    """Drives a stack; every guarantee is judged by the simulator's ledger and the gateway's answers."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        simulator = f"http://127.0.0.1:{stack.ports.simulator}"
        self.user = Cuepost(public_url(stack.blueprint), simulator)
        self._simulator = httpx.Client(base_url=simulator, timeout=10, trust_env=False)
        self.restore()
        self.user.register()
        self.events = EventRecorder(broker_url(stack.secrets, stack.ports, "audit")).start()

    def close(self) -> None:
        """Stop watching."""
        self.events.stop()
        self._simulator.close()

    def restore(self) -> None:
        """Make everything run and healthy again, without faults."""
        self.stack.up()
        self.clear_faults()

    def account(self) -> tuple[str, Creator]:
        """Connect a fresh creator and return (account id, creator)."""
        creator = self.user.make_creator()
        return self.user.connect(creator), creator

    def media(self, path: Path) -> str:
        """Upload a file and return the media id."""
        return str(self.user.upload(path)["id"])

    def schedule(self, account_id: str, media_id: str | None, *, in_seconds: float = 2.0, **more: Any) -> str:
        """Schedule a post and return its id; without a media id `more` says what is posted."""
        body = {
            "tiktok_account_id": account_id,
            "media_id": media_id,
            "caption": f"{OWN_CAPTION}{secrets.token_hex(4)}",
            "privacy_level": "PUBLIC_TO_EVERYONE",
            "scheduled_time": (datetime.now(UTC) + timedelta(seconds=in_seconds)).isoformat(),
            "allow_duplicate": True,
            **more,
        }
        return str(self.user.schedule(body)["id"])

    def fault(self, endpoint: str, **fault: Any) -> None:
        """Set a fault at the simulator."""
        self._simulator.post("/_simulator/faults", json={"endpoint": endpoint, **fault}).raise_for_status()

    def clear_faults(self) -> None:
        """Drop the simulator's faults that are left, and end its delays."""
        self._simulator.delete("/_simulator/faults").raise_for_status()

    def withdraw(self, creator: Creator, *, reason: int = 1) -> None:
        """Take the product's access away, as the creator does in TikTok's settings."""
        path = f"/_simulator/creators/{creator.username}/withdraw"
        self._simulator.post(path, json={"reason": reason}).raise_for_status()

    def is_connected(self, creator: Creator) -> bool:
        """Return whether the creator grants the product access now, as the simulator knows it."""
        items = self._simulator.get("/_simulator/creators").raise_for_status().json()["items"]
        return any(item["open_id"] == creator.open_id and item["connected"] for item in items)

    def faults_left(self) -> list[dict[str, Any]]:
        """Return the faults that were ordered and did not happen yet; `times` is how often."""
        items: list[dict[str, Any]] = self._simulator.get("/_simulator/faults").raise_for_status().json()["items"]
        return items

    def expired_accounts(self) -> list[str]:
        """Return the ids of the user's accounts that have to be connected again, 50 at most; none while nobody answers."""
        try:
            answer = self.user.get("/api/v1/accounts?limit=50&status=expired")
            return [str(item["id"]) for item in answer.json()["items"]] if answer.is_success else []
        except httpx.TransportError:
            return []

    def tell(self, creator: Creator, event: str, content: dict[str, Any]) -> None:
        """Let the simulator send a webhook about a creator."""
        body = {"event": event, "username": creator.username, "content": content}
        self._simulator.post("/_simulator/webhooks", json=body).raise_for_status()

    def webhooks(self, creator: Creator) -> list[dict[str, Any]]:
        """Return what the simulator has sent, or tries to send, about a creator."""
        items = self._simulator.get("/_simulator/webhooks").json()["items"]
        return [item for item in items if item["open_id"] == creator.open_id]

    def ledger(self, creator: Creator) -> list[dict[str, Any]]:
        """Return every init of a creator."""
        return [item for item in self.whole_ledger() if item["open_id"] == creator.open_id]

    def whole_ledger(self) -> list[dict[str, Any]]:
        """Return every init of everybody."""
        items: list[dict[str, Any]] = self._simulator.get("/_simulator/ledger").json()["items"]
        return items

    def publications(self, creator: Creator) -> list[dict[str, Any]]:
        """Return a creator's publications."""
        return self.user.publications(creator)

    def published_twice(self) -> list[str]:
        """Return the captions, made by `schedule` and so each of one post, of which the ledger has several publications."""
        titles = [str(item["title"]) for item in self.whole_ledger() if item["status"] == "PUBLISH_COMPLETE"]
        return [title for title, times in Counter(titles).items() if title.startswith(OWN_CAPTION) and times > 1]

    def status(self, post_id: str) -> str:
        """Return the post's state as the gateway tells it; empty while the gateway cannot answer."""
        try:
            return str(self.user.post(post_id)["status"])
        except Exception:  # noqa: BLE001 - asked while parts of the system are being killed
            return ""

    def wait_final(self, post_id: str, *, timeout: float = 180.0) -> str:
        """Wait until the post has ended and return how."""

        def ended() -> str | None:
            status = self.status(post_id)
            return status if status in FINAL else None

        return wait_for("the post's end", ended, timeout=timeout)

    def wait_status(self, post_id: str, status: str, *, timeout: float = 90.0) -> dict[str, Any]:
        """Wait until the post is in this state and return it."""

        def reached() -> dict[str, Any] | None:
            return self.user.post(post_id) if self.status(post_id) == status else None

        return wait_for(f"the post to be {status}", reached, timeout=timeout)

    def post_draft(self, publish_id: str) -> str:
        """Let the creator post a draft that lies in the inbox; returns the video's id."""
        answer = self._simulator.post(f"/_simulator/drafts/{publish_id}/publish", json={"title": "by its creator"})
        return str(answer.raise_for_status().json()["post_id"])

    def wait_event(self, post_id: str, key: str, *, count: int = 1, timeout: float = 60.0) -> dict[str, Any]:
        """Wait for the `count`-th event of a kind for a post and return it."""

        def recorded() -> list[dict[str, Any]] | None:
            events = self.events.of(post_id, key)
            return events if len(events) >= count else None

        return wait_for(f"{count} x {key}", recorded, timeout=timeout, interval=0.01)[count - 1]

    def reading(self, post_id: str) -> Reader:
        """Return a reader of what every service answers about a post; it reads inside a `with`."""
        post = f"/api/v1/posts/{post_id}"
        paths = (
            post,
            f"{post}/status",
            f"{post}/detail",
            "/api/v1/posts",
            "/api/v1/accounts",
            "/api/v1/audit",
            "/api/v1/auth/me",
        )
        return Reader(self.user.get, paths)

    @contextmanager
    def frozen(self, program: str) -> Iterator[None]:
        """Stop a program and its children in their tracks (SIGSTOP): connections stay open and nothing answers; then go on."""
        parent = psutil.Process(self.stack.pid(program))
        family = [parent, *parent.children(recursive=True)]
        for process in family:
            process.suspend()
        try:
            yield
        finally:
            for process in reversed(family):
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    def stopped(self, service: str) -> str | None:
        """Return a replica that is stopped in its tracks, None while there is none."""
        for program in self.stack.blueprint.processes(service):
            with suppress(psutil.Error, StackError):
                if psutil.Process(self.stack.pid(program)).status() == psutil.STATUS_STOPPED:
                    return program
        return None

    def resume(self, program: str) -> None:
        """Let a stopped program go on."""
        psutil.Process(self.stack.pid(program)).resume()

    def wait_until_claimed(self, count: int) -> None:
        """Wait until the scheduler's database holds `count` PostDue that the relay could not publish."""
        query = "SELECT count(*) FROM outbox_messages WHERE routing_key = 'scheduler.post.due.v1'"

        def claimed() -> bool:
            return bool(asyncio.run(self._scheduler_value(query)) >= count)

        wait_for(f"{count} claimed posts", claimed, interval=0.1)

    def let_fall_due(self, posts: Collection[str]) -> None:
        """Let the time of scheduled posts come now, in the scheduler's database: that needs no broker."""
        asyncio.run(self._let_fall_due([UUID(post) for post in posts]))

    def deliver_again(self, queue: str, event: dict[str, Any], *, times: int, new_id: bool = False) -> list[str]:
        """Put an event into a queue again, as it was or as fresh messages of the same content; returns the messages' ids."""
        messages = [{**event, "id": str(uuid7())} if new_id else event for _ in range(times)]
        asyncio.run(self._deliver(queue, messages))
        return [message["id"] for message in messages]

    def wait_answered(self, post_id: str, ids: Collection[str]) -> None:
        """Wait until the publisher has answered each of these `PostDue` of a known attempt: it told once more what it had told."""

        def answered() -> bool:
            told = self.events.about(post_id)
            # A sweep's `PostDue` says `again`, too, and nothing caused it.
            return set(ids) <= {event.get("causationid") for event in told if event["data"].get("again")}

        wait_for("the answers to PostDue", answered)

    @contextmanager
    def withheld(self, queue: str, key: str) -> Iterator[Callable[[int], list[dict[str, Any]]]]:
        """Keep events of this key from a queue: the broker gives them to another one instead, as long as the block lasts.

        Yields how to take them: a call waits for so many messages and returns them, in the order in which they came.
        """
        held = f"held.{secrets.token_hex(4)}"
        asyncio.run(self._redirect(key, away_from=queue, to=held))
        try:
            yield lambda count: wait_for("messages to be held", lambda: asyncio.run(self._taken(held, count)))
        finally:
            asyncio.run(self._redirect(key, away_from=held, to=queue))

    @contextmanager
    def jobs_locked(self, post_id: str) -> Iterator[None]:
        """Lock the publisher's rows of a post's attempts: while the block lasts no lease is renewed, and nobody takes one over."""
        with asyncio.Runner() as runner:
            connection = runner.run(asyncpg.connect(self.stack.env("publisher-1")["DATABASE_URL"], timeout=5))
            lock = connection.transaction()
            runner.run(lock.start())
            rows = "SELECT id FROM publish_jobs WHERE post_id = $1 FOR UPDATE"
            try:
                runner.run(connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0"))
                runner.run(connection.execute(rows, UUID(post_id)))
                yield
            finally:
                runner.run(lock.rollback())
                runner.run(connection.close())

    def change_jobs(self, post_id: str, values: str) -> None:
        """Write into the publisher's rows of a post's attempts that nobody has in hand, as a day that passes would."""
        asyncio.run(self._change_jobs(post_id, values))

    async def _scheduler_value(self, query: str) -> int:
        connection = await asyncpg.connect(self.stack.env("scheduler")["DATABASE_URL"], timeout=5)
        try:
            return int(await connection.fetchval(query))
        finally:
            await connection.close()

    async def _let_fall_due(self, posts: Sequence[UUID]) -> None:
        connection = await asyncpg.connect(self.stack.env("scheduler")["DATABASE_URL"], timeout=5)
        try:
            await connection.execute(
                "UPDATE posts SET scheduled_time = clock_timestamp(), next_attempt_at = clock_timestamp() WHERE id = ANY($1)",
                posts,
            )
        finally:
            await connection.close()

    async def _change_jobs(self, post_id: str, values: str) -> None:
        connection = await asyncpg.connect(self.stack.env("publisher-1")["DATABASE_URL"], timeout=5)
        try:
            await connection.execute(
                f"UPDATE publish_jobs SET {values} WHERE post_id = $1 AND lease_owner IS NULL",  # noqa: S608 - a test's own words
                UUID(post_id),
            )
        finally:
            await connection.close()

    async def _deliver(self, queue: str, messages: Sequence[dict[str, Any]]) -> None:
        async with await aio_pika.connect(self._admin_url, timeout=5) as connection:
            channel = await connection.channel(on_return_raises=True)
            for content in messages:
                # Queues take what comes by their name from their owner and from operators who say so.
                message = aio_pika.Message(
                    orjson.dumps(content), delivery_mode=aio_pika.DeliveryMode.PERSISTENT, user_id="admin"
                )
                await channel.default_exchange.publish(message, routing_key=queue, mandatory=True)

    async def _redirect(self, key: str, *, away_from: str, to: str) -> None:
        async with await aio_pika.connect(self._admin_url, timeout=5) as connection:
            channel = await connection.channel()
            is_held = to.startswith("held.")
            into = await channel.declare_queue(to, passive=not is_held, durable=True)
            out_of = await channel.declare_queue(away_from, passive=True)
            # Bound before unbound: what comes in between comes twice, which is harmless; never nowhere.
            await into.bind("cuepost.events", key)
            await out_of.unbind("cuepost.events", key)
            if not is_held:
                await out_of.delete(if_unused=False, if_empty=False)

    async def _taken(self, queue: str, count: int) -> list[dict[str, Any]] | None:
        """Return the messages of a queue once there are so many; they stay in it."""
        async with await aio_pika.connect(self._admin_url, timeout=5) as connection:
            channel = await connection.channel()
            got = await channel.declare_queue(queue, passive=True)
            messages = [await got.get(fail=False) for _ in range(count)]
            return [orjson.loads(message.body) for message in messages if message] if all(messages) else None

    @property
    def _admin_url(self) -> str:
        return broker_url(self.stack.secrets, self.stack.ports, "admin")

    def kill_replica_of(self, event: dict[str, Any]) -> str:
        """Kill (SIGKILL) the publisher replica named in an event; returns its program name."""
        name = str(event["data"]["replica"])
        self.stack.kill(name, signal.SIGKILL)
        return name
