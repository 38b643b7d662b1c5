"""PostgreSQL and RabbitMQ alone, for tests and development.

servers = start_servers(Path("/tmp/some-folder"))
...
servers.stop()
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from localstack.ports import Ports
from localstack.postgres import database_url
from localstack.rabbitmq import broker_url
from localstack.stack import Stack
from localstack.steps import Say, silent


@dataclass(frozen=True)
class Servers:
    """Running servers: addresses with the rights to do everything (superuser, broker administrator)."""

    stack: Stack
    postgres_url: str = field(repr=False)
    rabbitmq_url: str = field(repr=False)

    def stop(self, *, remove_data: bool = True) -> None:
        """Stop both; with `remove_data`, nothing of them stays."""
        if remove_data:
            self.stack.reset()
        else:
            self.stack.down()


def start_servers(root: Path, ports: Ports | None = None, *, durable: bool = True, say: Say = silent) -> Servers:
    """Start both below `root` (on free ports unless told) and wait until they accept connections.

    `durable` as `Stack` has it. Raises StackError when a server cannot be started or is not installed.
    """
    stack = Stack(root, ports or Ports.free(), servers_only=True, durable=durable, say=say)
    is_new = not stack.paths.state.exists()
    try:
        stack.up()
    except BaseException:
        if is_new:
            stack.reset()
        raise
    return servers_of(stack)


def remove_servers(root: Path) -> None:
    """Stop what runs below `root`, whoever started it, and remove its data; harmless when there is nothing."""
    Stack(root, servers_only=True).reset()


def servers_of(stack: Stack) -> Servers:
    """Return the addresses of a running stack's servers."""
    secrets = stack.secrets
    return Servers(
        stack,
        database_url(secrets, stack.ports, "postgres"),
        broker_url(secrets, stack.ports, "admin"),
    )
