"""Two real processes of accounts on one database: one refresh between them, whichever asks and whoever is killed."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from pydantic import SecretStr

from accounts.app import wire
from accounts.settings import Settings
from accounts.token_refresher import ANSWER_LOST
from common.database import Database
from common.testing.eventually import eventually
from common.testing.forked_programs import ForkedProgram, ForkedPrograms
from common.testing.http_server import free_port
from common.testing.keys import ServiceKeys
from tiktok_simulator.faults import Fault
from tiktok_simulator.personas import CreatorInput
from tiktok_simulator.testing import RunningSimulator

pytestmark = pytest.mark.integration
TOKEN = "/v2/oauth/token/"
REVOKED = "accounts.session.revoked.v1"
CALLERS = 100
ACCOUNTS = 3


class Replica:
    """One process and a client of it."""

    def __init__(self, process: ForkedProgram, http: httpx.AsyncClient, keys: ServiceKeys) -> None:
        self.process = process
        self._http = http
        self._auth = keys.authorization("publisher", "accounts")
        self._gateway = keys.authorization("gateway", "accounts")

    async def register(self) -> dict[str, Any]:
        body = {"email": "leaving@example.com", "username": "leaving", "password": "correct horse battery"}
        answer = await self._http.post("/internal/auth/register", json=body, headers=self._gateway)
        tokens: dict[str, Any] = answer.raise_for_status().json()
        return tokens

    async def log_out(self, token: str) -> httpx.Response:
        return await self._http.post("/internal/auth/logout", headers={"Authorization": f"Bearer {token}"})

    async def access_token(self, account_id: UUID, **body: str) -> httpx.Response:
        return await self._http.post(f"/internal/accounts/{account_id}/access-token", json=body, headers=self._auth)


Spawn = Callable[..., Awaitable[Replica]]


def environment_of(settings: Settings, port: int) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in settings:
        plain = value.get_secret_value() if isinstance(value, SecretStr) else value
        if value is None:
            continue
        given[name.upper()] = json.dumps(plain) if isinstance(plain, dict | bool) else str(plain)
    kept = {name: value for name, value in os.environ.items() if name == "PATH"}
    return {**kept, **given, "HTTP_PORT": str(port), "SERVICE_INSTANCE": f"accounts-{port}"}


@pytest.fixture
async def spawn(
    settings: Settings,
    service_keys: ServiceKeys,
    program_log: Callable[[str], Path],
    forked_programs: ForkedPrograms,
) -> AsyncIterator[Spawn]:
    async with AsyncExitStack() as stack:
        processes: list[ForkedProgram] = []

        async def one(**changes: str) -> Replica:
            port = free_port()
            path = program_log("accounts")
            process = await forked_programs.start("accounts", environment_of(settings, port) | changes, path)
            processes.append(process)
            http = await stack.enter_async_context(httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30))

            async def ready() -> bool:
                try:
                    return (await http.get("/readyz")).status_code == 200
                except httpx.TransportError:
                    assert process.returncode is None, path.read_text()
                    return False

            await eventually(ready)
            return Replica(process, http, service_keys)

        try:
            yield one
        finally:
            for process in processes:
                process.terminate()
            await asyncio.gather(*(process.wait() for process in processes))


@pytest.fixture
async def ids(
    settings: Settings,
    service_keys: ServiceKeys,
    simulator: RunningSimulator,
    running_service: Callable[..., Any],
) -> list[UUID]:
    """Connect some accounts with a replica that is gone before the test begins."""
    async with running_service(wire(settings), service_keys, simulator) as seed:
        person = await seed.register()
        for number in range(ACCOUNTS):
            simulator.state.creators.upsert(CreatorInput(username=f"creator{number}"))
        return [await seed.connect(person, f"creator{number}") for number in range(ACCOUNTS)]


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    found = Database(settings.database_url, application_name="test", pool_size=2)
    yield found
    await found.stop()


async def execute(database: Database, statement: str) -> None:
    async with database.transaction() as tx:
        await tx.connection.exec_driver_sql(statement)


async def value(database: Database, statement: str) -> Any:
    async with database.read() as connection:
        return (await connection.exec_driver_sql(statement)).scalar()


def token_calls(simulator: RunningSimulator) -> int:
    return sum(simulator.state.stats.as_json()["requests"].get(TOKEN, {}).values())


async def test_killed_before_it_could_tell_of_a_logout_it_has_answered_nobody(
    spawn: Spawn, database: Database, closed_gate: Callable[[], AbstractAsyncContextManager[Any]], events: Any
) -> None:
    """A gate stops the relay where it takes the revocation out of the outbox; what was committed is told by the next process."""
    first = await spawn(REVOCATION_PATIENCE_SECONDS="8")
    tokens = await first.register()
    async with closed_gate():
        leaving = asyncio.create_task(first.log_out(tokens["access_token"]))

        async def committed() -> bool:
            return bool(await value(database, "SELECT count(*) FROM sessions WHERE revoked_at IS NOT NULL"))

        await eventually(committed)
        first.process.kill()
        await first.process.wait()
        with pytest.raises(httpx.TransportError):
            await leaving
    assert [event for event in events.received if event.key == REVOKED] == []
    again = await spawn()
    await events.of(REVOKED)
    repeated = await again.log_out(tokens["access_token"])
    assert (repeated.status_code, repeated.json()["code"]) == (401, "session_revoked"), "whoever repeats it is told"


async def test_a_hundred_callers_of_two_processes_cause_one_refresh(
    spawn: Spawn, ids: list[UUID], database: Database, simulator: RunningSimulator
) -> None:
    replicas = await asyncio.gather(spawn(), spawn())
    calls = token_calls(simulator)
    for left in (120, -5):
        due = f"refresh_due_at = now(), expires_at = now() + interval '{left} seconds'"
        await execute(database, f"UPDATE account_tokens SET {due} WHERE account_id = '{ids[0]}'")
        simulator.state.faults.add(Fault(endpoint=TOKEN, delay=0.2))
        answers = await asyncio.gather(*(replicas[n % 2].access_token(ids[0]) for n in range(CALLERS)))
        assert {answer.status_code for answer in answers} == {200}
        # While the old token lives, whoever would wait long on a busy machine is served that one.
        assert len({answer.json()["access_token"] for answer in answers}) <= (2 if left > 0 else 1)
        calls += 1
        assert token_calls(simulator) == calls
    await _with_both_loops(replicas, ids, database, simulator)


async def _with_both_loops(
    replicas: Sequence[Replica], ids: list[UUID], database: Database, simulator: RunningSimulator
) -> None:
    """Make the account due for the loops of both processes at the moment at which a hundred callers come."""
    planned = f"UPDATE account_tokens SET refresh_due_at = %s, next_refresh_at = %s WHERE account_id = '{ids[0]}'"
    moment = "now() + interval '1.5 seconds'"
    await execute(database, planned.replace("%s", moment))
    for replica, account_id in zip(replicas, ids[1:3], strict=True):
        # A refresh of another account wakes this process's loop, which then knows the moment.
        await execute(database, f"UPDATE account_tokens SET refresh_due_at = now() WHERE account_id = '{account_id}'")
        assert (await replica.access_token(account_id)).status_code == 200
    calls = token_calls(simulator)
    simulator.state.faults.add(Fault(endpoint=TOKEN, delay=0.3))
    old = await value(database, f"SELECT pair_id FROM account_tokens WHERE account_id = '{ids[0]}'")

    async def is_due() -> bool:
        return bool(await value(database, f"SELECT refresh_due_at <= now() FROM account_tokens WHERE account_id = '{ids[0]}'"))

    async def is_refreshed() -> bool:
        return bool(await value(database, f"SELECT pair_id <> '{old}' FROM account_tokens WHERE account_id = '{ids[0]}'"))

    async def is_time() -> bool:
        return await is_due() or await is_refreshed()

    await eventually(is_time)
    answers = await asyncio.gather(*(replicas[n % 2].access_token(ids[0]) for n in range(CALLERS)))
    assert {answer.status_code for answer in answers} == {200}
    await eventually(is_refreshed)
    assert token_calls(simulator) == calls + 1


@pytest.mark.parametrize("grace", [0, 60])
async def test_a_process_killed_between_tiktoks_answer_and_the_commit(
    spawn: Spawn, ids: list[UUID], database: Database, simulator: RunningSimulator, grace: int
) -> None:
    """The new pair is lost with the process; only where TikTok still takes the old refresh token does the account go on."""
    account_id = ids[0]
    killed, other = await asyncio.gather(spawn(), spawn())
    grants = simulator.state.grants
    settings, grants._settings = grants._settings, grants._settings.model_copy(update={"refresh_grace_seconds": grace})
    try:
        await execute(
            database,
            "UPDATE account_tokens SET refresh_due_at = now(), expires_at = now() + interval '120 seconds'"
            f" WHERE account_id = '{account_id}'",
        )
        simulator.state.faults.add(Fault(endpoint=TOKEN, delay=30, delay_at="answer"))
        request = asyncio.create_task(killed.access_token(account_id))
        await eventually(lambda: any(token.rotated_at is not None for token in grants._refresh))
        killed.process.send_signal(signal.SIGKILL)
        await killed.process.wait()
        with pytest.raises(httpx.TransportError):
            await request
        assert await value(database, f"SELECT lease_id FROM account_tokens WHERE account_id = '{account_id}'") is not None
        meanwhile = await other.access_token(account_id)
        assert meanwhile.status_code == 200, "the old token lives, and nobody waits for the dead process"
        await execute(database, f"UPDATE account_tokens SET lease_until = now() WHERE account_id = '{account_id}'")

        async def settled() -> httpx.Response | None:
            answer = await other.access_token(account_id)
            changed = answer.status_code != 200 or answer.json()["access_token"] != meanwhile.json()["access_token"]
            return answer if changed else None

        answer = await eventually(settled)
    finally:
        grants._settings = settings
    error = await value(database, f"SELECT last_error FROM tiktok_accounts WHERE id = '{account_id}'")
    if grace:
        assert (answer.status_code, error) == (200, None)
        assert grants.access(answer.json()["access_token"]) is not None
        assert await value(database, f"SELECT interrupted_at FROM account_tokens WHERE account_id = '{account_id}'") is None
    else:
        assert (answer.status_code, answer.json()["code"], error) == (409, "account_expired", ANSWER_LOST)
