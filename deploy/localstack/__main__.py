"""`python -m localstack <command>`: what the Makefile's targets run."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from localstack.bring_up import bring_up
from localstack.consumers import add_consumer
from localstack.errors import StackError
from localstack.key_rotation import operator_command, operator_environment, rotate_encryption_key
from localstack.paths import CHECKOUT
from localstack.postgres import owner_url
from localstack.process_table import rows, table
from localstack.rabbitmq import broker_url
from localstack.servers import servers_of, start_servers
from localstack.service_environment import program_environment
from localstack.stack import Stack
from localstack.startup import migrate, warnings_of
from localstack.vault import DATABASE_SERVICES

Command = Callable[[argparse.Namespace], int]


def main() -> int:
    """Run one command; returns the exit code. A StackError is told without a traceback."""
    options = _parser().parse_args()
    command: Command = options.run
    try:
        return command(options)
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="localstack", description=__doc__)
    commands = parser.add_subparsers(required=True)

    def add(name: str, run: Command, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    add("up", _up, "start the whole system")
    add("down", _down, "stop everything; data stays")
    add("reset", _reset, "stop everything and remove the data")
    add("ps", _ps, "show the processes, their memory and its sum")
    add("migrate", _migrate, "bring every database to its newest version")
    logs = add("logs", _logs, "follow the logs of all programs, or of one service")
    logs.add_argument("service", nargs="?", default="")
    logs.add_argument("--lines", type=int, default=20, help="how many earlier lines to show")
    scale = add("scale", _scale, "set the number of replicas: publisher=3")
    scale.add_argument("replicas", nargs="+", metavar="SERVICE=N")
    run = add("run", _run, "run a command with a service's settings in its environment")
    run.add_argument("service")
    run.add_argument("arguments", nargs=argparse.REMAINDER)
    dead = add("dead-letters", _dead_letters, "list, show, replay or drop messages that could not be handled")
    dead.add_argument("arguments", nargs=argparse.REMAINDER, help="list, or show|replay|drop QUEUE [ID ...|--all]")
    verify = add("audit-verify", _audit_verify, "prove that nothing in the audit trail was changed")
    verify.add_argument("arguments", nargs=argparse.REMAINDER, metavar="SEQ:HASH", help="a head that was printed before")
    export = add(
        "audit-export", _audit_export, "print every record of the audit trail, of all users and operators, as JSON Lines"
    )
    export.add_argument("arguments", nargs=argparse.REMAINDER, metavar="SEQ", help="only those behind this one")
    retention = add("audit-retention", _audit_retention, "show, or change, for how many days the audit trail is kept")
    retention.add_argument("arguments", nargs=argparse.REMAINDER, metavar="DAYS", help="from now on")
    user = add("audit-user", _audit_user, "make a broker user audit-NAME that reads events, and print its AMQP address")
    user.add_argument("name", metavar="NAME")
    rotation = add("rotate-keys", _rotate_keys, "put a new key for users' tokens in the place of the present one")
    rotation.add_argument("--now", action="store_true", help="end the old key at once: what it signed is refused")
    add("rotate-encryption-key", _rotate_encryption_key, "put a new encryption key in the place of the present one")
    servers = add("servers", _servers, "start PostgreSQL and RabbitMQ alone and print their addresses")
    servers.add_argument("--root", type=Path, default=CHECKOUT / ".local" / "servers", help="folder of their data")
    servers.add_argument("--stop", action="store_true", help="stop them and remove their data")
    return parser


def _say(line: str) -> None:
    print(line, flush=True)


def _up(_options: argparse.Namespace) -> int:
    bring_up(CHECKOUT, os.environ, _say)
    return 0


def _down(_options: argparse.Namespace) -> int:
    Stack.saved(CHECKOUT).down()
    _say("Cuepost is down; its data stays (make reset removes it).")
    return 0


def _reset(_options: argparse.Namespace) -> int:
    Stack.saved(CHECKOUT).reset()
    _say("Cuepost is down and its data is gone.")
    return 0


def _ps(_options: argparse.Namespace) -> int:
    stack = Stack.saved(CHECKOUT)
    found, orphans = rows(stack), stack.orphans()
    if found:
        _say(table(found))
        for row in found:
            for line in warnings_of(stack.blueprint, row.name) if row.state == "running" else ():
                _say(f"{row.name}: {line}")
    elif orphans:
        _say(f"The process manager is gone; still running without it: {', '.join(orphans)}. Heal with: make up")
    else:
        _say("Cuepost is down; start it with: make up")
    return 0


def _migrate(_options: argparse.Namespace) -> int:
    stack = Stack.saved(CHECKOUT)
    if not stack.states():
        raise StackError("the stack does not run; start it with: make up")
    for service in DATABASE_SERVICES:
        migrate(stack.blueprint, stack.secrets, service)
        _say(f"  migrations of {service} up to date")
    return 0


def _logs(options: argparse.Namespace) -> int:
    folder = Stack.saved(CHECKOUT).paths.log
    name = options.service
    files = sorted(p for p in folder.glob("*.log") if not name or p.stem == name or p.stem.rpartition("-")[0] == name)
    if not files:
        raise StackError(f"no logs of {name or 'anything'} below {folder}")
    command = ["tail", "-n", str(options.lines), "-F", *(str(path) for path in files)]
    os.execvp(command[0], command)  # noqa: S606 - following files is what tail is for


def _scale(options: argparse.Namespace) -> int:
    stack = Stack.saved(CHECKOUT, say=_say)
    for text in options.replicas:
        service, _, count = text.partition("=")
        if not count.isdigit():
            raise StackError(f"{text} is not SERVICE=N, e.g. publisher=3")
        stack.scale(service, int(count))
        _say(f"  {service:<12} {count} ready")
        if service == "gateway" and int(count) > 1 and not stack.blueprint.environment.get("RATE_LIMIT_STORAGE"):
            _say("  each gateway counts requests by itself; for one count: RATE_LIMIT_STORAGE=valkey://HOST:PORT make up")
    return 0


def _run(options: argparse.Namespace) -> int:
    stack = Stack.saved(CHECKOUT)
    own = program_environment(stack.blueprint, stack.paths, stack.secrets, options.service)
    os.execvpe(options.arguments[0], options.arguments, {**os.environ, **own})  # noqa: S606 - becoming it is the point


def _dead_letters(options: argparse.Namespace) -> int:
    stack = Stack.saved(CHECKOUT)
    if not stack.states():
        raise StackError("the stack does not run; start it with: make up")
    environment = {**os.environ, "AMQP_URL": broker_url(stack.secrets, stack.ports, "admin")}
    command = [sys.executable, "-P", "-m", "common.messaging.dead_letter_command", *options.arguments]
    os.execvpe(command[0], command, environment)  # noqa: S606 - becoming it is the point


def _audit_verify(options: argparse.Namespace) -> int:
    keep = Stack.saved(CHECKOUT).paths.audit_head
    return _of_analytics("analytics.verify_audit", f"--keep={keep}", *options.arguments)


def _audit_export(options: argparse.Namespace) -> int:
    return _of_analytics("analytics.export_trail", *options.arguments)


def _audit_retention(options: argparse.Namespace) -> int:
    return _of_analytics("analytics.audit_retention", *options.arguments, as_owner=True)


def _audit_user(options: argparse.Namespace) -> int:
    _say(add_consumer(Stack.saved(CHECKOUT), f"audit-{options.name}"))
    return 0


def _of_analytics(module: str, *arguments: str, as_owner: bool = False) -> int:
    stack = Stack.saved(CHECKOUT)
    if not stack.states():
        raise StackError("the stack does not run; start it with: make up")
    command = operator_command(module, *arguments)
    own = program_environment(stack.blueprint, stack.paths, stack.secrets, "analytics")
    if as_owner:
        user = {name: os.environ[name] for name in ("LOGNAME", "USER") if name in os.environ}
        own = {**user, **own, "DATABASE_URL": owner_url(stack.secrets, stack.ports, "analytics")}
    os.execvpe(command[0], command, own)  # noqa: S606 - becoming it is the point


def _rotate_keys(options: argparse.Namespace) -> int:
    stack = Stack.saved(CHECKOUT)
    if not stack.states():
        raise StackError("the stack does not run; start it with: make up")
    command = [*operator_command("accounts.rotate_signing_keys"), *(["--now"] if options.now else [])]
    os.execvpe(command[0], command, operator_environment(stack))  # noqa: S606 - becoming it is the point


def _rotate_encryption_key(_options: argparse.Namespace) -> int:
    began = time.monotonic()
    rotate_encryption_key(Stack.saved(CHECKOUT, say=_say), _say)
    _say(f"The encryption key is a new one ({time.monotonic() - began:.1f} s).")
    return 0


def _servers(options: argparse.Namespace) -> int:
    root: Path = options.root
    if options.stop:
        Stack.saved(root).reset()
        return 0
    root.mkdir(parents=True, exist_ok=True)
    running = Stack.saved(root)
    found = servers_of(running) if running.states() else start_servers(root, say=lambda line: print(line, file=sys.stderr))
    _say(f"TEST_POSTGRES_URL={found.postgres_url}\nTEST_RABBITMQ_URL={found.rabbitmq_url}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
