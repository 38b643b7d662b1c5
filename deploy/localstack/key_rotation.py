"""Rotation of the encryption key while the stack runs.

Every replica of accounts can open what the new key seals before anything is sealed with it, and none seals with the old one any
more before that is taken away: add the new key last; put it first; seal everything again; remove the old keys. Each time the file
that the replicas follow is changed, and the next step begins when all of them say that they have taken it up. Nothing restarts.
How far it came stands in the secrets: run again, it goes on.
"""

from __future__ import annotations

import os
import subprocess
import sys

from localstack.errors import StackError
from localstack.rabbitmq import broker_url
from localstack.service_environment import program_environment
from localstack.stack import Stack
from localstack.steps import Say, Steps
from localstack.vault import change_secrets, new_encryption_key

SERVICE = "accounts"
SETTING = "ENCRYPTION_KEY"
PENDING = "encryption_key_new"
COMMAND = f"{SERVICE}.rotate_encryption_key"
WAIT_SECONDS = 60
"""For every replica to take up a change: a second, or the 20 s after which a replica that was killed no longer counts."""

RESEAL_SECONDS = 3600.0


def rotate_encryption_key(stack: Stack, say: Say) -> None:
    """Replace the stack's encryption key; raises StackError, with the old key kept, when something may still need it."""
    _require_running(stack)
    with stack.exclusive():
        # A `make down`, or an `up` with other settings, may have had the lock.
        _require_running(stack)
        stack.reread()
        _require_own_key(stack)
        _rotate(stack, Steps(say))


def _require_own_key(stack: Stack) -> None:
    given = [name for name in (SETTING, f"{SETTING}_FILE") if stack.blueprint.environment.get(name)]
    if given:
        raise StackError(
            f"{given[0]} is set by you: rotate it as docs/operations.md says, the stack does not know where it is kept"
        )


def _require_running(stack: Stack) -> None:
    if not stack.supervisor.alive():
        raise StackError("the stack does not run; start it with: make up")


def _rotate(stack: Stack, steps: Steps) -> None:
    new = stack.secrets.get(PENDING) or new_encryption_key()
    old = [key for key in stack.secrets["encryption_key"].split(",") if key != new]
    if stack.secrets["encryption_key"].split(",")[0] != new:
        _use(stack, steps, [*old, new], pending=new, what="new key known")
    _use(stack, steps, [new, *old], pending=new, what="new key seals")
    with steps.step("sealed again", "everything"):
        _reseal(stack, steps)
    _use(stack, steps, [new], pending=new, what="old key removed")
    change_secrets(stack.paths, {PENDING: None})


def _use(stack: Stack, steps: Steps, keys: list[str], *, pending: str, what: str) -> None:
    """Store these keys and wait until every replica holds them; raises StackError, with the next step not begun."""
    change_secrets(stack.paths, {"encryption_key": ",".join(keys), PENDING: pending})
    with steps.step(what, "by every replica"):
        _wait_for_replicas(stack)


def _wait_for_replicas(stack: Stack) -> None:
    number = len(stack.blueprint.processes(SERVICE))
    done = _run(stack, WAIT_SECONDS + 60.0, "--wait", str(WAIT_SECONDS), "--replicas", str(number))
    if done.returncode != 0:
        lines = f"{done.stdout}{done.stderr}".strip()
        raise StackError(f"not every replica has taken up the keys; see make ps, then run this again\n{lines}".rstrip())


def _reseal(stack: Stack, steps: Steps) -> None:
    done = _run(stack, RESEAL_SECONDS)
    for line in done.stdout.splitlines():
        steps.line(f"    {line}")
    if done.returncode != 0:
        message = "not everything could be sealed again; the old key stays. Mend the cause and run this again"
        raise StackError(f"{message}\n{done.stderr.strip()}".rstrip())


def _run(stack: Stack, seconds: float, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        operator_command(COMMAND, *arguments),
        env=operator_environment(stack),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def operator_command(module: str, *arguments: str) -> list[str]:
    """Return the command line of a service's operator command."""
    return [sys.executable, "-P", "-m", module, *arguments]


def operator_environment(stack: Stack) -> dict[str, str]:
    """Return the environment of accounts' operator commands: its own, with the right to tell what an operator did."""
    own = program_environment(stack.blueprint, stack.paths, stack.secrets, SERVICE)
    user = {name: os.environ[name] for name in ("LOGNAME", "USER") if name in os.environ}
    return {**user, **own, "AMQP_URL": broker_url(stack.secrets, stack.ports, "admin")}
