"""`python -m localstack <command>`: what the Makefile's targets run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from localstack.errors import StackError
from localstack.paths import CHECKOUT
from localstack.servers import servers_of, start_servers
from localstack.stack import Stack


def main() -> int:
    """Run one command; returns the exit code. A StackError is told without a traceback."""
    parser = argparse.ArgumentParser(prog="localstack", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    servers = commands.add_parser("servers", help="start PostgreSQL and RabbitMQ alone and print their addresses")
    servers.add_argument("--root", type=Path, default=CHECKOUT / ".local" / "servers", help="folder of their data")
    servers.add_argument("--stop", action="store_true", help="stop them and remove their data")
    options = parser.parse_args()
    try:
        return _servers(options.root, stop=options.stop)
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _servers(root: Path, *, stop: bool) -> int:
    if stop:
        Stack.saved(root).reset()
        return 0
    root.mkdir(parents=True, exist_ok=True)
    running = Stack.saved(root)
    found = servers_of(running) if running.states() else start_servers(root, say=lambda line: print(line, file=sys.stderr))
    print(f"TEST_POSTGRES_URL={found.postgres_url}\nTEST_RABBITMQ_URL={found.rabbitmq_url}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
