"""The whole stack as its operator sees it: start, kill anything, scale, start again; nothing disturbs what runs."""

import asyncio
import base64
import json
import secrets
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from unittest.mock import Mock

import asyncpg
import httpx
import pytest

from common.testing.secret_scan import SecretScan
from localstack import __main__ as commands
from localstack import service_environment
from localstack.code_digest import code_of
from localstack.demo_access import read_stack_env, working_key
from localstack.errors import StackError
from localstack.key_rotation import operator_command
from localstack.paths import CHECKOUT
from localstack.ports import SERVICES, Ports
from localstack.postgres import owner_url
from localstack.process_table import rows
from localstack.ready import make_ready, ready_block
from localstack.service_environment import public_url
from localstack.stack import Stack
from system.reader import Reader
from system.stack_secrets import note

pytestmark = [pytest.mark.system, pytest.mark.integration]


SETTINGS = {"RATE_LIMIT_PER_USER": "100000/minute", "SIGNING_KEY_OVERLAP_SECONDS": "2"}


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return []


@pytest.fixture(scope="module")
def frozen_code() -> Iterator[None]:
    """Someone editing the checkout meanwhile must not change what these tests see restarted."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(service_environment, "code_of", cache(code_of))
        yield


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], frozen_code: None, secret_scan: SecretScan
) -> Iterator[Stack]:
    whole = Stack(tmp_path_factory.mktemp("whole"), Ports.free(), say=lines.append, environment=SETTINGS)
    try:
        whole.up()
        yield whole
        note(whole, secret_scan)
        secret_scan.log("\n".join(lines))
    finally:
        whole.reset()


def pids(stack: Stack) -> dict[str, int]:
    return {name: state.pid for name, state in stack.states().items()}


@contextmanager
def reading(stack: Stack, key: str) -> Iterator[Reader]:
    """Ask accounts, through the gateway and itself, for as long as the block runs; the second answer seals something."""
    headers = {"Authorization": f"Bearer {key}"}
    address = f"{public_url(stack.blueprint)}/api/v1"
    with (
        httpx.Client(base_url=address, headers=headers, timeout=30) as client,
        Reader(client.get, ("/accounts", "/tiktok/auth/url")) as reader,
    ):
        yield reader


def test_each_step_is_told_with_its_seconds(stack: Stack, lines: list[str]) -> None:
    assert stack.healthy("gateway-1")
    text = "\n".join(lines)
    for name in ("PostgreSQL", "RabbitMQ", "TikTok simulator", "migrations of scheduler", *SERVICES):
        assert name in text
    assert text.index("PostgreSQL") < text.index("migrations of accounts") < text.index("gateway ")


def test_the_ready_block_works_as_printed(stack: Stack) -> None:
    key = make_ready(stack)
    said = read_stack_env(stack.paths)
    assert said["DEMO_API_KEY"] == key
    assert said["GATEWAY_URL"] == public_url(stack.blueprint)
    assert said["AMQP_URL"].startswith("amqp://audit:")
    assert stat.S_IMODE(stack.paths.stack_env.stat().st_mode) == 0o600
    assert make_ready(stack) == key, "a key that works is kept"
    curls = [line.strip() for line in ready_block(stack, key, 1.0).splitlines() if line.strip().startswith("curl ")]
    assert len(curls) == 3
    for curl in curls:
        shown = subprocess.run(["bash", "-c", f"{curl} --fail"], capture_output=True, text=True, timeout=30, check=False)
        assert shown.returncode == 0, shown.stderr
        assert isinstance(json.loads(shown.stdout), dict)


def test_a_key_that_stopped_working_is_replaced(stack: Stack) -> None:
    old = make_ready(stack)
    text = stack.paths.stack_env.read_text(encoding="utf-8")
    stack.paths.stack_env.write_text(text.replace(old, "cpk_revoked"), encoding="utf-8")
    assert make_ready(stack) not in {old, "cpk_revoked"}
    assert working_key(public_url(stack.blueprint), stack.paths, "the password was lost") == make_ready(stack)
    stack.paths.stack_env.unlink()
    assert working_key(public_url(stack.blueprint), stack.paths, "the password was lost")


def test_a_new_key_takes_the_place_of_the_old_one(stack: Stack) -> None:
    old = make_ready(stack)
    stack.paths.stack_env.unlink()
    assert make_ready(stack) != old
    address = f"{public_url(stack.blueprint)}/api/v1/auth/me"
    until(lambda: httpx.get(address, headers={"Authorization": f"Bearer {old}"}, timeout=10).status_code == 401)


@pytest.mark.parametrize("name", ["simulator", *(f"{service}-1" for service in SERVICES)])
def test_a_killed_process_comes_back_by_itself(stack: Stack, name: str) -> None:
    killed = stack.kill(name, signal.SIGKILL)
    until(lambda: stack.states()[name].pid not in {0, killed} and stack.healthy(name))


def test_scaling_touches_only_what_comes_and_goes(stack: Stack) -> None:
    before = pids(stack)
    stack.scale("publisher", 3)
    scaled = pids(stack)
    assert {name: scaled[name] for name in before} == before
    assert set(scaled) - set(before) == {"publisher-2", "publisher-3"}
    assert all(stack.healthy(f"publisher-{number}") for number in (1, 2, 3))
    assert Stack.saved(stack.root).blueprint.count("publisher") == 3
    stack.scale("publisher", 1)
    assert pids(stack) == before
    with pytest.raises(StackError):
        stack.scale("publisher", 0)


def test_replicas_of_accounts_share_requests(stack: Stack) -> None:
    key = make_ready(stack)
    stack.scale("accounts", 2)
    address, headers = f"{public_url(stack.blueprint)}/api/v1/accounts", {"Authorization": f"Bearer {key}"}

    def answered() -> list[int]:
        return [httpx.get(address, headers=headers, timeout=10).status_code for _ in range(10)]

    stack.supervisor.stop(["accounts-1"])
    assert answered() == [200] * 10, "the other one is asked"
    stack.up()
    stack.supervisor.stop(["accounts-2"])
    assert answered() == [200] * 10
    stack.scale("accounts", 1)


def test_up_again_restarts_nothing(stack: Stack) -> None:
    before = pids(stack)
    Stack.saved(stack.root).up()
    assert pids(stack) == before


def test_a_changed_setting_restarts_those_who_read_it_and_no_others(stack: Stack) -> None:
    before = pids(stack)
    changed = Stack(stack.root, stack.ports, environment={**SETTINGS, "COMMAND_TIMEOUT_SECONDS": "6"})
    changed.up()
    assert {name for name, pid in pids(stack).items() if before[name] != pid} == {"gateway-1"}
    assert changed.env("gateway")["COMMAND_TIMEOUT_SECONDS"] == "6"
    stack.up()


COMMAND_AT = """
import sys
from pathlib import Path
import localstack.__main__ as commands
commands.CHECKOUT = Path(sys.argv.pop(1))
sys.exit(commands.main())
"""


def make_target(stack: Stack, target: str) -> str:
    """Run a target of the Makefile on this stack instead of the checkout's; returns what it printed."""
    script = stack.root / "command_at.py"
    script.write_text(COMMAND_AT, encoding="utf-8")
    command = f"PYTHONPATH=deploy {sys.executable} {script} {stack.root}"
    # Everything is installed already, and another's install must not be waited for.
    make = ["make", "--old-file=bootstrap", target, f"STACK={command}"]
    done = subprocess.run(make, cwd=CHECKOUT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@dataclass
class Session:
    """Somebody who is logged in."""

    http: httpx.Client
    tokens: dict[str, str]

    @classmethod
    def begin(cls, http: httpx.Client) -> "Session":
        """Register."""
        body = {"email": f"{secrets.token_hex(6)}@example.com", "username": "rotating", "password": secrets.token_urlsafe(24)}
        return cls(http, http.post("/auth/register", json=body).raise_for_status().json())

    @property
    def kid(self) -> str:
        """Which key signed the access token."""
        head = self.tokens["access_token"].split(".")[0]
        return str(json.loads(base64.urlsafe_b64decode(head + "=="))["kid"])

    def works(self) -> bool:
        """Return whether the gateway lets the access token in."""
        bearer = {"Authorization": f"Bearer {self.tokens['access_token']}"}
        return self.http.get("/auth/me", headers=bearer).status_code == 200

    def refreshed(self) -> "Session":
        """Refresh."""
        answer = self.http.post("/auth/refresh", json={"refresh_token": self.tokens["refresh_token"]})
        return Session(self.http, answer.raise_for_status().json())


def published(stack: Stack) -> set[str]:
    """Return the ids of the keys that accounts publishes."""
    url = f"http://127.0.0.1:{stack.env('accounts')['HTTP_PORT']}/.well-known/jwks.json"
    return {key["kid"] for key in httpx.get(url, timeout=10, trust_env=False).raise_for_status().json()["keys"]}


def test_the_encryption_key_rotates_while_the_system_runs(stack: Stack) -> None:
    key, old, before = make_ready(stack), stack.secrets["encryption_key"], pids(stack)
    with reading(stack, key) as reader:
        told = make_target(stack, "rotate-encryption-key")
    new = stack.secrets["encryption_key"]
    assert new != old
    assert "The encryption key is a new one" in told
    assert pids(stack) == before, "nothing restarts"
    assert reader.statuses == {200}, "and no request fails meanwhile"
    assert sum(reader.answers.values()) > 20
    stack.kill("accounts-1")
    until(lambda: stack.states()["accounts-1"].pid not in {0, before["accounts-1"]} and stack.healthy("accounts-1"))
    assert make_ready(stack) == key, "nobody is logged out"
    assert not any(secret in told for secret in (old, new))


def test_signing_keys_rotate_and_nobody_is_logged_out_before_or_after_the_overlap(stack: Stack) -> None:
    """Not while both keys are there, and not when the old one is gone."""
    address = f"{public_url(stack.blueprint)}/api/v1"
    key = make_ready(stack)
    with httpx.Client(base_url=address, timeout=30, trust_env=False) as http:
        early = Session.begin(http)
        other = Session.begin(http)
        (old,) = published(stack)
        assert early.kid == old
        told = make_target(stack, "rotate-keys")
        assert "is published and signs from" in told
        new = told.split("new signing key ")[1].split()[0]
        assert f"old signing key {old} verifies until" in told
        # Replicas read the keys every half minute, which is why the overlap is usually longer than that.
        until(lambda: published(stack) == {old, new}, 60)
        until(lambda: Session.begin(http).kid == new, 60)
        assert early.works(), "tokens of the old key are good until they end"
        late = early.refreshed()
        assert (late.kid, late.works(), early.works()) == (new, True, True)
        # The day after: the old key's last token has ended, also those that the gateway keeps for API keys.
        asyncio.run(retire(stack.env("accounts")["DATABASE_URL"], old))
        for name in ("accounts-1", "gateway-1"):
            killed = stack.kill(name)
            until(lambda name=name, killed=killed: stack.states()[name].pid not in {0, killed} and stack.healthy(name))
        assert published(stack) == {new}
        assert late.works()
        assert late.refreshed().works()
        again = other.refreshed()
        assert (again.kid, again.works()) == (new, True), "who was away all the time goes on, too"
    assert make_ready(stack) == key, "and so do API keys"
    # With the rights of accounts itself, as in any other deployment.
    command = operator_command("accounts.rotate_signing_keys")
    done = subprocess.run(command, env=stack.env("accounts"), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert f"old signing key {new} verifies until" in done.stdout


async def retire(url: str, kid: str) -> None:
    connection = await asyncpg.connect(url)
    done = await connection.execute("UPDATE signing_keys SET retired_at = now() WHERE kid = $1", kid)
    await connection.close()
    assert done == "UPDATE 1"


def test_the_audit_trail_is_proven_while_the_system_runs(stack: Stack) -> None:
    def verify() -> subprocess.CompletedProcess[str]:
        command = operator_command("analytics.verify_audit")
        return subprocess.run(command, env=stack.env("analytics"), capture_output=True, text=True, timeout=60, check=False)

    done = verify()
    assert done.returncode == 0, done.stderr
    assert " records hold, 1 to " in done.stdout
    assert asyncio.run(actors_of(stack.env("analytics")["DATABASE_URL"], "system.signing_keys_rotated"))[0].startswith(
        "operator:"
    )
    asyncio.run(change_by_hand(owner_url(stack.secrets, stack.ports, "analytics")))
    done = verify()
    assert (done.returncode, done.stdout) == (1, "")
    assert "BROKEN: record 2 (event " in done.stderr


async def actors_of(url: str, action: str) -> list[str]:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch("SELECT actor FROM audit.records WHERE action = $1", action)
    await connection.close()
    return [row["actor"] for row in rows]


async def change_by_hand(url: str) -> None:
    connection = await asyncpg.connect(url)
    assert await connection.execute("UPDATE audit.records SET actor = 'user:x' WHERE seq = 2") == "UPDATE 1"
    await connection.close()


def test_a_wrong_setting_touches_nothing_and_is_not_remembered(stack: Stack) -> None:
    before = pids(stack)
    with pytest.raises(StackError, match="RATE_LIMIT_PER_USER"):
        Stack(stack.root, stack.ports, environment={"RATE_LIMIT_PER_USER": "foo"}).up()
    assert stack.healthy("gateway-1")
    Stack.saved(stack.root).up()
    assert pids(stack) == before


def test_changed_code_restarts_those_who_run_it_and_no_others(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    before = pids(stack)
    same = service_environment.code_of
    with monkeypatch.context() as patched:
        changed = {"publisher": "0" * 12}
        patched.setattr(service_environment, "code_of", lambda program: changed.get(program) or same(program))
        Stack.saved(stack.root).up()
    assert {name for name, pid in pids(stack).items() if before[name] != pid} == {"publisher-1"}
    stack.up()


def test_a_port_in_use_is_told_before_anything_is_touched(stack: Stack) -> None:
    before = pids(stack)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=rf"(?s){port}.*GATEWAY_ADDRESS="):
            Stack(stack.root, replace(stack.ports, gateway=port)).up()
    assert pids(stack) == before
    assert Stack.saved(stack.root).ports == stack.ports


def test_every_process_is_measured_and_the_sum_stays_below_the_goal(stack: Stack) -> None:
    found = rows(stack)
    assert {row.name for row in found} == {*stack.blueprint.programs(), "supervisord"}
    assert 0 < sum(row.memory for row in found) < 900 * 1024 * 1024
    told = make_target(stack, "ps")
    assert all(row.name in told for row in found), told


def test_logs_are_followed_of_all_or_of_one_service(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "CHECKOUT", stack.root)
    follow = Mock()
    monkeypatch.setattr("os.execvp", follow)
    for arguments in ((), ("gateway",)):
        monkeypatch.setattr(sys, "argv", ["localstack", "logs", *arguments])
        commands.main()
    everything, one = (call.args[1] for call in follow.call_args_list)
    assert everything[:4] == one[:4] == ["tail", "-n", "20", "-F"]
    assert one[4:] == [str(stack.paths.log / "gateway-1.log")]
    assert {Path(file).stem for file in everything[4:]} >= set(stack.blueprint.programs())
    monkeypatch.setattr(sys, "argv", ["localstack", "logs", "nobody"])
    assert commands.main() == 1
