"""After all other tests: no secret that took part in them stands in any log, database, stored file or message."""

import asyncio
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aio_pika
import asyncpg
import httpx
import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from common.auth.keys import b64url_decode
from common.messaging.dead_letter_box import dead_letter_box
from common.messaging.topology import COMMANDS, EVENTS, dead_letter_name
from common.testing.canaries import Canaries
from demo.api import Creator
from localstack.postgres import owner_url
from localstack.rabbitmq import broker_url
from localstack.stack import Stack
from localstack.vault import DATABASE_SERVICES
from system.firehose import REPLIES, TO_QUEUES, Firehose
from system.operator import Operator
from system.small_video import make_small_video
from system.stack_secrets import given_secrets, made_secrets
from system.waiting import wait_for
from system.written import Written

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

TOKEN_PATH = "/v2/oauth/token/"
INIT = "/v2/post/publish/video/init/"


class Planter:
    """Does everything that a secret takes part in, well and badly, and remembers each secret."""

    def __init__(self, operator: Operator, canaries: Canaries) -> None:
        self._operator = operator
        self._canaries = canaries
        self._http = httpx.Client(base_url=operator.stack.env("gateway")["PUBLIC_URL"], timeout=30, trust_env=False)
        self._creator: Creator = operator.user.make_creator()

    def sessions(self) -> None:
        """Register, guess wrongly, refresh, reuse, log in, change the password; make a key, use it, revoke it, use it again."""
        email = f"canary{secrets.token_hex(6)}@example.com"
        password, guess, another = (f"c\u00e4nary {secrets.token_hex(8)}/+&%" for _ in range(3))
        self._canaries.add("password", password)
        self._canaries.add("guessed password", guess)
        self._canaries.add("new password", another)
        tokens = self._post("/auth/register", {"email": email, "username": "canary", "password": password})
        self._post("/auth/register", {"email": "x", "username": "canary", "password": password, "odd": password})
        self._post("/auth/login", {"email": email, "password": guess})
        renewed = self._post("/auth/refresh", {"refresh_token": tokens["refresh_token"]})
        newest = self._post("/auth/refresh", {"refresh_token": renewed["refresh_token"]})
        self._post("/auth/refresh", {"refresh_token": tokens["refresh_token"]})
        session = self._post("/auth/login", {"email": email, "password": password})
        self._http.headers["Authorization"] = f"Bearer {session['access_token']}"
        self._post("/auth/password", {"current_password": guess, "new_password": another})
        changed = self._post("/auth/password", {"current_password": password, "new_password": another})
        for number, given in enumerate((tokens, renewed, newest, session, changed)):
            self._canaries.add(f"refresh token {number}", given["refresh_token"])
            self._canaries.add(f"access token {number}", given["access_token"].rpartition(".")[2])
        self._http.headers["Authorization"] = f"Bearer {changed['access_token']}"
        made = self._post("/auth/api-keys", {"name": "canary", "scopes": ["posts:read"]})
        # The beginning is meant to be seen.
        self._canaries.add("API key", made["key"].removeprefix(made["prefix"]))
        self._get("/posts", key=made["key"])
        self._http.delete(f"/api/v1/auth/api-keys/{made['id']}")
        self._get("/posts", key=made["key"])
        self._get("/posts", key="cpk_" + made["key"][::-1])

    def connecting(self) -> None:
        """Connect with the code replayed, with TikTok in trouble, with a code that is nonsense."""
        verifiers: list[str] = []
        for fault in (None, {"status": 503}, {"code": "invalid_client"}, {"lost_answer": True}):
            url = self._get("/tiktok/auth/url")["auth_url"]
            back = self._back(url)
            verifiers += asyncio.run(opened(self._operator.stack, "oauth_states", "code_verifier_sealed"))
            for name in ("code", "state"):
                self._canaries.add(f"OAuth {name}, {fault}", back.params[name])
            if fault:
                self._operator.fault(TOKEN_PATH, **fault)
            for _ in range(2):
                self._http.get(back)
        for number, verifier in enumerate(set(verifiers)):
            self._canaries.add(f"PKCE verifier {number}", verifier)
        assert len(set(verifiers)) >= 4

    def publishing(self, folder: Path) -> None:
        """Publish with an access token while TikTok's answers make the publisher complain."""
        account, creator = self._operator.account()
        media = self._operator.media(make_small_video(folder / "canary.mp4").path)
        self._operator.fault(INIT, open_id=creator.open_id, status=500, times=2)
        self._operator.fault(INIT, open_id=creator.open_id, code="access_token_invalid", skip=2)
        assert self._operator.wait_final(self._operator.schedule(account, media)) == "published"

    def _back(self, url: str) -> httpx.URL:
        answer = httpx.get(httpx.URL(url).copy_add_param("simulator_creator", self._creator.username), trust_env=False)
        return httpx.URL(answer.headers["location"])

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._http.post(f"/api/v1{path}", json=body).json()
        return answer

    def _get(self, path: str, *, key: str | None = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        answer: dict[str, Any] = self._http.get(f"/api/v1{path}", headers=headers).json()
        return answer


async def opened(stack: Stack, table: str, column: str) -> list[str]:
    """Return what is sealed in a column of the accounts database."""
    fernet = Fernet(stack.secrets["encryption_key"])
    connection = await asyncpg.connect(stack.env("accounts")["DATABASE_URL"], timeout=10)
    try:
        rows = await connection.fetch(f"SELECT {column} FROM {table}")
    finally:
        await connection.close()
    return [fernet.decrypt(bytes(row[0])).decode() for row in rows]


def known(operator: Operator, passed: list[str], folder: Path) -> Canaries:
    """Plant, and return every secret that took part in this run."""
    canaries = Canaries()
    for name, made in made_secrets(operator.stack.secrets):
        canaries.add(name, made)
    planter = Planter(operator, canaries)
    planter.sessions()
    planter.connecting()
    planter.publishing(folder)
    for number, secret in enumerate(passed + operator.user.secrets):
        canaries.add(f"passed in a test {number}", secret)
    for column, table in (
        ("private_key_sealed", "signing_keys"),
        ("access_token_sealed", "account_tokens"),
        ("refresh_token_sealed", "account_tokens"),
    ):
        for number, secret in enumerate(asyncio.run(opened(operator.stack, table, column))):
            canaries.add(f"{table}.{column} {number}", secret)
            if table == "signing_keys":
                canaries.add(f"{table}.{column} {number}, its bytes", b64url_decode(secret))
    given = list(given_secrets(operator.stack))
    assert len(given) >= 2
    for name, secret in given:
        canaries.add(name, secret)
    return canaries


async def put(stack: Stack, queue: str, body: bytes) -> None:
    """Put a message into a queue and no other."""
    async with await aio_pika.connect(broker_url(stack.secrets, stack.ports, "admin"), timeout=5) as connection:
        channel = await connection.channel()
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, user_id="admin")
        await channel.default_exchange.publish(message, routing_key=queue, mandatory=True)


async def publish(stack: Stack, exchange: str, key: str, body: bytes) -> None:
    """Publish a message, whoever takes it."""
    async with await aio_pika.connect(broker_url(stack.secrets, stack.ports, "admin"), timeout=5) as connection:
        channel = await connection.channel()
        to = await channel.get_exchange(exchange) if exchange else channel.default_exchange
        await to.publish(aio_pika.Message(body), routing_key=key, mandatory=False)


async def drop_dead(stack: Stack, queue: str, body: bytes) -> None:
    """Remove those dead letters again."""
    url = SecretStr(broker_url(stack.secrets, stack.ports, "admin"))
    async with dead_letter_box(url, operator="tests") as box:
        await box.drop(queue, lambda letter: letter.body == body)


async def in_every_database(stack: Stack, statement: str) -> None:
    """Run a statement in each database as its owner."""
    for service in DATABASE_SERVICES:
        connection = await asyncpg.connect(owner_url(stack.secrets, stack.ports, service), timeout=10)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


def found(written: Written, canaries: Canaries, events: bytes, published: dict[str, bytes]) -> dict[str, set[str]]:
    """Return which secrets stand where."""
    places = {path.name: names for path, names in canaries.in_files(written.logs()).items()}
    places |= {f"stored {path.name}": names for path, names in canaries.in_files(written.stored()).items()}
    places |= {f"published to {name}": canaries.in_bytes(messages) for name, messages in published.items()}
    places |= {f"database {name}": canaries.in_bytes(rows) for name, rows in written.databases().items()}
    places["dead letters"] = canaries.in_bytes(written.dead_letters())
    places["events"] = canaries.in_bytes(events)
    return {place: names for place, names in places.items() if names}


@pytest.fixture
def leaked(stack: Stack, operator: Operator) -> Iterator[str]:
    """Put a secret into a log, every database, a file, dead letters, an event, a command and a reply; remove what stays."""
    secret = secrets.token_urlsafe(24)
    log = stack.paths.log / "leak.log"
    log.write_text(f"GET /callback?code={secret}\n")
    as_hex = secret.encode().hex()
    body = b'{"token": "' + secret.encode() + b'"}'
    asyncio.run(
        in_every_database(
            stack,
            f"CREATE TABLE leak (t text, j jsonb, b bytea);INSERT INTO leak VALUES (NULL, NULL, '\\x{as_hex}');",
        )
    )
    asyncio.run(put(stack, dead_letter_name("scheduler.accounts"), body))
    # For the recorder alone: the audit trail would keep it for good.
    event = {"id": secrets.token_hex(8), "subject": "leak", "type": "cuepost.leak.v1", "data": {"token": secret}}
    asyncio.run(put(stack, operator.events.queue, json.dumps(event).encode()))
    wait_for("the leaking event", lambda: operator.events.of("leak", "leak"))
    stored = stack.paths.storage / "leak"
    stored.write_bytes(body)
    # To nobody: what is traced is what is published, whether or not a queue takes it.
    asyncio.run(publish(stack, COMMANDS.name, "leak.leak.v1", body))
    asyncio.run(publish(stack, "", "gateway.replies.leak", body))
    yield secret
    log.unlink()
    stored.unlink()
    asyncio.run(in_every_database(stack, "DROP TABLE leak"))
    asyncio.run(drop_dead(stack, "scheduler.accounts", body))


def test_no_secret_is_written_anywhere(
    operator: Operator, passed_secrets: list[str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with Firehose(operator.stack) as firehose:
        canaries = known(operator, passed_secrets, tmp_path)
        asyncio.run(put(operator.stack, "scheduler.accounts", b'{"no": "envelope"}'))
        written = Written(operator.stack)
        wait_for("a dead letter", written.dead_letters)
        assert len(canaries) > 100
        assert len(list(written.logs())) > 10
        assert all(len(rows) > 1_000 for rows in written.databases().values())
        assert len(operator.events.recorded()) > 1_000
        assert list(written.stored())
        published = firehose.published()
        for place in (EVENTS.name, COMMANDS.name, REPLIES, TO_QUEUES):
            assert len(published[place]) > 200, place
        assert found(written, canaries, operator.events.recorded(), published) == {}
        asyncio.run(drop_dead(operator.stack, "scheduler.accounts", b'{"no": "envelope"}'))
        # And the same scan, when something leaks: it would have been found.
        secret = request.getfixturevalue("leaked")
        canaries.add("leak", secret)
        for place in (COMMANDS.name, REPLIES, TO_QUEUES):
            wait_for(f"the leak in {place}", lambda place=place: secret.encode() in firehose.published()[place])
        places = found(written, canaries, operator.events.recorded(), firehose.published())
    told = {f"published to {place}" for place in (COMMANDS.name, REPLIES, TO_QUEUES)}
    databases = {f"database {name}" for name in DATABASE_SERVICES}
    assert set(places) == {"leak.log", "stored leak", "dead letters", "events"} | told | databases
    assert {name for names in places.values() for name in names} == {"leak (clear)", "leak (hex)"}
