"""Users for programs outside that read events: `audit-NAME` for each that the others need not trust."""

from __future__ import annotations

import subprocess

from localstack.audit_trail import tell_of_consumer
from localstack.errors import StackError
from localstack.rabbitmq import broker_url, server_environment, write_configuration
from localstack.rabbitmq_install import require_server
from localstack.stack import Stack
from localstack.vault import keep_consumer

IMPORT_SECONDS = 120


def add_consumer(stack: Stack, user: str) -> str:
    """Make the broker of a running stack know this user; returns its AMQP address. Doing it again changes nothing.

    A user that is new is told of in the audit trail before it is made. Raises StackError for a name that is none of a consumer, and
    when the stack or its broker does not run.
    """
    if not stack.supervisor.alive():
        raise StackError("the stack does not run; start it with: make up")
    with stack.exclusive():
        keep_consumer(stack.paths, user, tell=lambda: tell_of_consumer(broker_url(stack.secrets, stack.ports, "admin"), user))
        secrets = stack.secrets
        write_configuration(stack.paths, stack.ports, secrets)
        command = require_server(lambda _: None).with_name("rabbitmqctl")
        done = subprocess.run(
            [str(command), "import_definitions", str(stack.paths.rabbitmq / "definitions.json")],
            env=server_environment(stack.paths, stack.ports),
            capture_output=True,
            text=True,
            timeout=IMPORT_SECONDS,
            check=False,
        )
    if done.returncode != 0:
        raise StackError(
            f"the broker did not take the user; see make ps, then run this again\n{done.stdout}{done.stderr}".rstrip()
        )
    return broker_url(secrets, stack.ports, user)
