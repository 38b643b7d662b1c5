"""The scan that ends every test run finds what it is there for, wherever it stands; a run with a leak fails."""

import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import aio_pika
import asyncpg
import httpx
import pytest
from aio_pika.exceptions import DeliveryError
from pydantic import SecretStr

from common.messaging.publisher import MessagePublisher, Outgoing
from common.messaging.topology import EVENTS, dead_letter_name
from common.messaging.wire.frames import Publication
from common.testing.amqp import broker_channel, running
from common.testing.broker_queues import QueueRecorder
from common.testing.databases import TestDatabases, delete_all_rows
from common.testing.keys import UserKeys
from common.testing.secret_ledger import SecretLedger
from common.testing.secret_scan import SecretScan

CANARY = "canary-7f3a9-0123456789"


@pytest.fixture
def scan(monkeypatch: pytest.MonkeyPatch, secret_scan: SecretScan) -> Iterator[SecretScan]:
    """Give a scan of its own, so that what these tests leak does not fail their run."""
    scan = SecretScan()
    with secret_scan.paused():
        scan.install(monkeypatch)
        yield scan
    scan.close()


def places(scan: SecretScan) -> set[str]:
    return {line.rpartition(" stands in the ")[2] for line in scan.findings()}


def known(ledger: SecretLedger, secret: str) -> bool:
    return bool(ledger.canaries().in_bytes(secret.encode()))


def test_a_secret_is_found_wherever_it_stands(scan: SecretScan) -> None:
    SecretStr(CANARY)
    for note, place in (
        (lambda: scan.log(f"token={CANARY}"), "logs"),
        (lambda: scan.rows([json.dumps({"raw": "\\x" + CANARY.encode().hex()})]), "database rows"),
        (lambda: scan.message(b"{}", {"x-error": CANARY}), "messages"),
        (lambda: scan.log_file("publisher").write_text(CANARY), "program 1 publisher"),
    ):
        assert place not in places(scan)
        note()
        assert place in places(scan)
    assert len(scan.verdict()) == 4


def test_a_clean_run_has_nothing_to_tell(scan: SecretScan) -> None:
    assert scan.verdict() == []
    SecretStr(CANARY)
    scan.log("nothing")
    scan.rows(["{}"])
    scan.message(b"{}")
    assert scan.verdict() == []


def test_a_scan_that_finds_nothing_anywhere_says_so(scan: SecretScan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.testing.canaries.Canaries.in_files", lambda *_: {})
    assert [line.rpartition(" in the ")[2] for line in scan.verdict()] == [
        "logs",
        "database rows",
        "dead letters",
        "messages in frames of our own",
        "messages that the library sends",
    ]


def test_a_scan_that_does_not_see_what_is_sent_says_so(scan: SecretScan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though others left messages in which it would find something."""
    monkeypatch.undo()
    scan.message(b"something")
    assert [line.rpartition(" in the ")[2] for line in scan.verdict()] == [
        "messages in frames of our own",
        "messages that the library sends",
    ]


async def test_what_goes_over_http_is_known(scan: SecretScan, user_keys: UserKeys) -> None:
    secret = {
        name: f"{name}-0123456789abcdef" for name in ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    }
    jwt = user_keys.token()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/back":
            return httpx.Response(302, headers={"location": f"https://x/callback?code={secret['five']}"})
        key, address = "cpk_short678" + secret["seven"], f"https://x/?state={secret['six']}"
        return httpx.Response(200, json={"tokens": [{"refresh_token": secret["three"]}], "auth_url": address, "key": key})

    transport = httpx.MockTransport(answer)
    async with httpx.AsyncClient(transport=transport) as client:
        await client.post("https://x/login", json={"password": secret["one"], "note": "not-a-secret-0123456789"})
        await client.get("https://x/me", headers={"Authorization": f"Bearer {jwt}"})
        await client.get("https://x/back")
        await client.post("https://x/password", json={"current_password": secret["eight"], "new_password": secret["nine"]})
    with httpx.Client(transport=transport) as client:
        client.post("https://x/token", data={"client_secret": secret["two"]})
        client.get("https://x/callback", params={"code": secret["four"]})
    for name, value in secret.items():
        assert known(scan.ledger, value), name
    assert known(scan.ledger, jwt.rpartition(".")[2])
    assert not known(scan.ledger, "not-a-secret-0123456789")
    assert not known(scan.ledger, "cpk_short678"), "the beginning of a key may be shown"


def test_of_an_address_the_password_counts(scan: SecretScan) -> None:
    SecretStr(f"amqp://gateway:{CANARY}@127.0.0.1:5672/")
    SecretStr("memory://")
    SecretStr("amqp://[")
    SecretStr("v" * 43)
    assert known(scan.ledger, CANARY)
    assert len(scan.ledger) == 1


@pytest.mark.integration
async def test_rows_are_kept_before_they_go(empty_database: Callable[[str], Awaitable[str]], postgres_url: str) -> None:
    kept: list[str] = []
    url = await empty_database("kept")
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE one (t text, b bytea); CREATE TABLE two (j jsonb)")
    await connection.execute("INSERT INTO one VALUES ('x', '\\x0102'); INSERT INTO two VALUES ('{\"a\": 1}')")
    await delete_all_rows(url, keep=kept.extend)
    assert sorted(map(json.loads, kept), key=len) == [{"j": {"a": 1}}, {"t": "x", "b": "\\x0102"}]
    assert await connection.fetchval("SELECT count(*) FROM one") == 0
    await connection.close()
    databases = TestDatabases(postgres_url, keep=kept.extend)
    url, gone = await databases.create("dropped"), await databases.create("gone")
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE three (t text)")
    await connection.execute("INSERT INTO three VALUES ('at the end')")
    await connection.execute(f'DROP DATABASE "{gone.rpartition("/")[2]}"')
    await connection.close()
    await databases.drop_all()
    assert json.loads(kept[-1]) == {"t": "at the end"}


@pytest.mark.integration
async def test_messages_are_kept_whoever_published_them(
    scan: SecretScan, rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[tuple[bytes, Any]] = []
    recorder = QueueRecorder()
    recorder.install(monkeypatch)
    SecretStr(CANARY)
    connection = await aio_pika.connect(rabbitmq_url)
    async with connection, connection.channel() as channel:
        queue = await channel.declare_queue(dead_letter_name("secret_scan.kept"), durable=True)
        await channel.declare_queue("secret_scan.never", auto_delete=True)
        message = aio_pika.Message(b"body", headers={"x-error": CANARY})
        await channel.default_exchange.publish(message, routing_key=queue.name)
    recorder._names.add(dead_letter_name("secret_scan.gone"))
    await recorder.delete_all(rabbitmq_url, keep=lambda body, headers: kept.append((body, headers)))
    assert kept == [(b"body", {"x-error": CANARY})]
    assert places(scan) == {"messages"}


@pytest.mark.integration
async def test_messages_are_seen_whoever_writes_their_frames(scan: SecretScan, rabbitmq_url: str) -> None:
    """A relay's batch, one message at a time, and what may come back; and of the connection's own words none."""
    secret = {way: f"{way}-0123456789abcdef" for way in ("batch", "header", "single", "mandatory", "returned", "library")}
    queue = f"test.{uuid4().hex}"
    publisher = MessagePublisher(SecretStr(rabbitmq_url), service="test")
    async with broker_channel(rabbitmq_url) as channel, running(publisher):
        await channel.declare_queue(queue, exclusive=True)
        limit = (await publisher._link.connected()).body_limit
        # Across the border of two frames, where it stands nowhere in one piece.
        body = b"x" * (limit - 5) + secret["batch"].encode() + b"x" * limit
        publications = [Publication(EVENTS.name, "test.nobody.heard.v1", sent) for sent in (b"{}", body, b"{}")]
        assert (await publisher.publish_all(publications)).confirmed == [0, 1, 2]
        await publisher.publish(Outgoing(b"{}", queue, headers={"x-error": secret["header"]}))
        await publisher.publish(Outgoing(secret["single"].encode(), queue))
        await publisher.publish(Outgoing(secret["mandatory"].encode(), queue, mandatory=True))
        with pytest.raises(DeliveryError):
            await publisher.publish(Outgoing(secret["returned"].encode(), f"{queue}.none", mandatory=True))
        await channel.default_exchange.publish(aio_pika.Message(secret["library"].encode()), routing_key=queue)
    assert places(scan) == set()
    for way, written in secret.items():
        scan.ledger.add(way, written)
    assert {line.partition(" ")[0] for line in scan.findings()} == set(secret)


LEAKING = """
import logging
from pydantic import SecretStr

def test_it():
    secret = SecretStr("canary-of-a-leaking-run-0123456789")
    logging.warning("refused %s", secret.get_secret_value() if {leaks} else secret)
"""


@pytest.mark.parametrize("leaks", [True, False])
def test_a_run_with_a_leak_fails(tmp_path: Path, leaks: bool) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["common.testing.plugin"]\n')
    (tmp_path / "test_leaking.py").write_text(LEAKING.replace("{leaks}", str(leaks)))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "PYTEST_ADDOPTS": ""}
    )
    assert "1 passed" in run.stdout, run.stdout + run.stderr
    assert run.returncode == (1 if leaks else 0), run.stdout
    assert ("ERROR wrapped as a secret (clear) stands in the logs" in run.stdout) is leaks
    assert "canary-of" not in run.stdout
