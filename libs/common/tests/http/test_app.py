"""An app's life: its parts, its readiness, its request ids, its log."""

import asyncio
from typing import Any
from uuid import UUID

import httpx
import pytest
from asgi_lifespan import LifespanManager
from structlog.testing import capture_logs

from common.http.health import Check
from common.telemetry.metrics import HTTP_SECONDS


class Part:
    def __init__(self, name: str, log: list[str], *, fails: str = "", hangs: bool = False) -> None:
        self.name = name
        self.reason: str | None = None
        self.told: str | None = None
        self._log = log
        self._fails = fails
        self._hangs = hangs

    async def start(self) -> None:
        if self._fails == "start":
            raise RuntimeError("cannot start")
        self._log.append(f"start {self.name}")

    async def stop(self) -> None:
        self._log.append(f"stop {self.name}")
        if self._fails == "stop":
            raise RuntimeError("cannot stop")
        if self._hangs:
            await asyncio.Event().wait()

    def warning(self) -> str | None:
        return self.told

    def healthy(self) -> str | None:
        if self.reason == "raise":
            raise RuntimeError
        return self.reason


async def test_components_start_in_order_and_stop_in_reverse(app_of: Any, client_of: Any) -> None:
    log: list[str] = []
    async with client_of(app_of(Part("a", log), Part("b", log), Part("c", log))) as client:
        assert (await client.get("/readyz")).status_code == 200
    assert log == ["start a", "start b", "start c", "stop c", "stop b", "stop a"]


async def test_a_failed_start_stops_what_runs(app_of: Any) -> None:
    log: list[str] = []
    app = app_of(Part("a", log), Part("b", log, fails="start"), Part("c", log))
    with pytest.raises(RuntimeError, match="cannot start"):
        async with LifespanManager(app):
            pass
    assert log == ["start a", "stop a"]


async def test_a_failing_or_hanging_stop_does_not_keep_the_others(app_of: Any, client_of: Any) -> None:
    log: list[str] = []
    app = app_of(Part("a", log), Part("b", log, fails="stop"), Part("c", log, hangs=True))
    app.state.component_stop_seconds = 0.05
    with capture_logs() as logs:
        async with client_of(app):
            pass
    assert log[3:] == ["stop c", "stop b", "stop a"]
    events = [(entry["event"], entry.get("component")) for entry in logs]
    assert ("component_stop_timed_out", "c") in events
    assert ("component_stop_failed", "b") in events


async def test_readiness_names_each_part_and_its_reason(app_of: Any, client_of: Any) -> None:
    async def fine() -> None:
        return None

    async def broken() -> None:
        raise OSError("canary address")

    async def hangs() -> None:
        await asyncio.Event().wait()

    first, second = Part("relay", []), Part("relay", [])
    checks = (Check("database", fine), Check("store", broken), Check("slow", hangs, timeout_seconds=0.05))
    first.reason, second.reason, second.told = "no connection", "raise", "look at it"
    async with client_of(app_of(first, second, checks=checks)) as client:
        response = await client.get("/readyz")
        assert response.status_code == 503
        assert response.json() == {
            "status": "not_ready",
            "service": "test",
            "checks": {
                "relay": {"ok": False, "reason": "no connection"},
                "relay-1": {"ok": False, "reason": "health check failed: RuntimeError"},
                "database": {"ok": True, "reason": None},
                "store": {"ok": False, "reason": "OSError"},
                "slow": {"ok": False, "reason": "no answer within 0.05 s"},
            },
            "warnings": ["relay: look at it"],
        }
        assert (await client.get("/healthz")).json() == {"status": "ok", "service": "test"}


async def test_readiness_is_red_before_the_start_and_while_stopping(app_of: Any, client_of: Any) -> None:
    app = app_of()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        assert (await client.get("/readyz")).json()["status"] == "starting"
    async with client_of(app) as client:
        assert (await client.get("/readyz")).json()["status"] == "ready"
        app.state.stopping.set()
        response = await client.get("/readyz")
        assert (response.status_code, response.json()["status"]) == (503, "stopping")


@pytest.mark.parametrize("given", ["abc", "A-b_c.9", "x" * 128])
async def test_the_clients_request_id_is_used(client: httpx.AsyncClient, given: str) -> None:
    response = await client.get("/request-id", headers={"X-Request-ID": given})
    assert response.headers.get_list("x-request-id") == [given]
    assert response.json() == {"request_id": given}


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "é", "a\tb", "a;b", None])
async def test_a_bad_or_missing_request_id_is_replaced(client: httpx.AsyncClient, given: str | None) -> None:
    headers = {} if given is None else {"X-Request-ID": given.encode("utf-8")}
    response = await client.get("/request-id", headers=headers)  # type: ignore[arg-type]
    assert UUID(response.headers["x-request-id"]).version == 7


async def test_each_request_is_logged_once_with_its_id(client: httpx.AsyncClient) -> None:
    with capture_logs() as logs:
        await client.get("/request-id?token=canary", headers={"X-Request-ID": "r1"})
    (entry,) = logs
    assert (entry["event"], entry["method"], entry["path"], entry["status"]) == ("request", "GET", "/request-id", 200)
    assert entry["ms"] >= 0


async def test_a_client_that_leaves_is_not_answered(app_of: Any) -> None:
    sent: list[Any] = []
    messages = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/items",
        "raw_path": b"/items",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"transfer-encoding", b"chunked"), (b"content-type", b"application/json")],
    }
    await app_of()(scope, receive, send)
    assert sent == []


async def test_an_answer_that_breaks_is_cut_not_completed(app_of: Any) -> None:
    async with LifespanManager(app_of()) as manager:
        transport = httpx.ASGITransport(manager.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            with pytest.raises(RuntimeError, match="in the middle"):
                await client.get("/broken-stream")


async def test_requests_are_measured_by_route(client: httpx.AsyncClient) -> None:
    await client.get("/items/0190b8e5-0000-7000-8000-000000000001")
    await client.request("CANARY", "/items")
    labels = {tuple(sample.labels.values())[:3] for metric in HTTP_SECONDS.collect() for sample in metric.samples}
    assert ("GET", "/items/{item_id}", "200") in labels
    assert ("other", "/items", "405") in labels
    assert not any("CANARY" in label for label in labels)


async def test_docs_where_wanted(app_of: Any, client_of: Any) -> None:
    async with client_of(app_of(docs=True)) as client:
        assert (await client.get("/openapi.json")).json()["info"]["title"] == "Test"
        assert (await client.get("/docs")).status_code == 200
