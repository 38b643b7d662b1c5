"""Webhooks: signed, sent at least once, sent again with growing pauses until the app answers 200, for 72 hours."""

import asyncio
import hashlib
import hmac
import json
from typing import Any, Literal

import httpx
import structlog
from pydantic import BaseModel

from tiktok_simulator.clock import now, rfc3339
from tiktok_simulator.faults import WEBHOOK, Fault, Faults
from tiktok_simulator.identifiers import log_id
from tiktok_simulator.journal import Journal, Table
from tiktok_simulator.settings import Settings

SIGNATURE_HEADER = "TikTok-Signature"
USER_AGENT = "TikTok-Webhook-Simulator"
KEPT = 1_000
"""How many finished deliveries are remembered."""
_CALL_SECONDS = 10.0
_OVERTAKEN_SECONDS = 5.0

log = structlog.get_logger(__name__)


class Delivery(BaseModel):
    """One webhook. Times in Unix seconds; ``copies`` are sent one after the other, each until it is answered with 200."""

    id: str
    event: str
    open_id: str
    body: str
    created_at: float
    copies: int = 1
    attempts: int = 0
    failures: int = 0
    state: Literal["waiting", "delivered", "dropped", "given_up"] = "waiting"
    last_answer: str = ""

    def item(self) -> dict[str, Any]:
        """Return the delivery as the admin API shows it."""
        return {
            "event": self.event,
            "open_id": self.open_id,
            "body": json.loads(self.body),
            "state": self.state,
            "attempts": self.attempts,
            "last_answer": self.last_answer or None,
            "created_at": rfc3339(self.created_at),
        }


class WebhookSender:
    """Sends to the one callback address of the app; without an address nothing is sent. What waits survives a restart."""

    def __init__(self, settings: Settings, journal: Journal, faults: Faults) -> None:
        self._settings = settings
        self._faults = faults
        self._table = Table(journal, "webhooks", Delivery)
        self._tasks: set[asyncio.Task[None]] = set()
        self._overtaken: list[asyncio.Event] = []
        self._http: httpx.AsyncClient | None = None

    def tell(self, event: str, open_id: str, content: dict[str, Any], *, create_time: int | None = None) -> None:
        """Send an event to the app, in the background; an ordered fault may duplicate, delay, reorder or drop it."""
        if not self._settings.webhook_url:
            return
        body = {
            "client_key": self._settings.client_key,
            "event": event,
            "create_time": create_time if create_time is not None else int(now()),
            "user_openid": open_id,
            "content": json.dumps(content, separators=(",", ":")),
        }
        text = json.dumps(body, separators=(",", ":"))
        delivery = Delivery(id=log_id(), event=event, open_id=open_id, body=text, created_at=now())
        fault = self._faults.take(WEBHOOK, open_id)
        if fault is not None and fault.duplicate:
            delivery.copies = 2
        if fault is not None and fault.drop:
            delivery.state = "dropped"
        self._store(delivery)
        if delivery.state == "waiting":
            self._start(delivery, fault)

    def resume(self) -> None:
        """Go on with what waited when the simulator stopped."""
        for delivery in self._table:
            if delivery.state == "waiting":
                self._start(delivery, None)

    def items(self) -> list[dict[str, Any]]:
        """Return the deliveries, oldest first."""
        return [delivery.item() for delivery in self._table]

    async def stop(self) -> None:
        """Break off all deliveries; with a state file they go on after the next start."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    def clear(self) -> None:
        """Forget all deliveries."""
        self._table.clear()
        self._overtaken.clear()

    def _start(self, delivery: Delivery, fault: Fault | None) -> None:
        task = asyncio.create_task(self._deliver(delivery, fault), name=f"webhook {delivery.id}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("webhook_broke", task=task.get_name(), exc_info=task.exception())

    async def _deliver(self, delivery: Delivery, fault: Fault | None) -> None:
        if fault is not None:
            await fault.wait()
            if fault.reorder:
                await self._let_one_pass()
        while delivery.state == "waiting":
            accepted = await self._send(delivery)
            self._let_go()
            if accepted:
                delivery.copies -= 1
                delivery.state = "delivered" if delivery.copies <= 0 else "waiting"
            else:
                delivery.failures += 1
            pause = self._pause(delivery)
            if not accepted and now() + pause > delivery.created_at + self._settings.webhook_give_up_seconds:
                delivery.state = "given_up"
            self._store(delivery)
            if not accepted and delivery.state == "waiting":
                await asyncio.sleep(pause)

    def _pause(self, delivery: Delivery) -> float:
        doubled: float = self._settings.webhook_retry_seconds * 2.0 ** min(delivery.failures - 1, 30)
        return min(doubled, self._settings.webhook_retry_max_seconds)

    async def _let_one_pass(self) -> None:
        """Wait until another webhook has been sent; not for ever, there may be none."""
        passed = asyncio.Event()
        self._overtaken.append(passed)
        try:
            async with asyncio.timeout(_OVERTAKEN_SECONDS):
                await passed.wait()
        except TimeoutError:
            log.info("webhook_was_not_overtaken")
        finally:
            if passed in self._overtaken:
                self._overtaken.remove(passed)

    def _let_go(self) -> None:
        for passed in self._overtaken:
            passed.set()

    async def _send(self, delivery: Delivery) -> bool:
        """Send once; True when the app answered 200."""
        delivery.attempts += 1
        stamp = str(int(now() if self._settings.webhook_resign else delivery.created_at))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            SIGNATURE_HEADER: f"t={stamp},s={self._signature(stamp, delivery.body)}",
        }
        if self._http is None:
            self._http = httpx.AsyncClient(timeout=_CALL_SECONDS, trust_env=False)
        try:
            answer = await self._http.post(self._settings.webhook_url, content=delivery.body.encode(), headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            delivery.last_answer = type(error).__name__
            return False
        delivery.last_answer = str(answer.status_code)
        return answer.status_code == 200

    def _signature(self, stamp: str, body: str) -> str:
        key = self._settings.client_secret.get_secret_value().encode()
        return hmac.new(key, f"{stamp}.{body}".encode(), hashlib.sha256).hexdigest()

    def _store(self, delivery: Delivery) -> None:
        self._table.put(delivery.id, delivery)
        if len(self._table) > KEPT:
            for old in list(self._table)[: len(self._table) - KEPT]:
                if old.state != "waiting":
                    self._table.delete(old.id)
