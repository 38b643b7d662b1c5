"""RabbitMQ's definitions: who may do what, the shared exchanges and the bounds of queues outside our control.

One table of rights for the local stack and for containers: `python -m localstack.definitions passwords.json` prints
the JSON that RabbitMQ (3.10 and 4.x) loads at boot (`load_definitions`). Because definitions are loaded, the broker
makes no default user: there is no `guest`.

Rights, as RabbitMQ checks them: *configure* declares, *write* publishes to an exchange or binds a queue, *read*
consumes from a queue or binds from an exchange. On top, topic permissions limit the routing keys of a topic exchange.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EVENTS = "cuepost.events"
COMMANDS = "cuepost.commands"
SERVICES = ("gateway", "accounts", "scheduler", "publisher", "analytics")

VHOST = "/"
WEEK_MILLISECONDS = 7 * 24 * 3600 * 1000
AUDIT_BYTES = 256 * 1024 * 1024
STREAM_SEGMENT_BYTES = 16 * 1024 * 1024
"""A stream gives up what is over its bound by whole segments; RabbitMQ makes them of 500 MB unless it is told otherwise."""

NOTHING = "^$"
ANYTHING = ".*"
SHARED = r"cuepost\.(events|commands|retry\..*)"


@dataclass(frozen=True)
class Rights:
    """What one user may do; every value is a regular expression over names (or, in the last two, routing keys)."""

    configure: str
    write: str
    read: str
    events_write: str = NOTHING
    events_read: str = ANYTHING
    commands_write: str = NOTHING
    commands_read: str = NOTHING
    tags: tuple[str, ...] = ()


def rights_of(user: str) -> Rights:
    """Return the least rights with which this user can do its work."""
    if user == "admin":
        return Rights(ANYTHING, ANYTHING, ANYTHING, ANYTHING, ANYTHING, ANYTHING, ANYTHING, tags=("administrator",))
    if is_consumer(user):
        own = re.escape(user) + r"\..*"
        return Rights(configure=f"^{own}$", write=f"^{own}$", read=f"^({own}|{EVENTS_PATTERN})$")
    is_gateway = user == "gateway"
    commands = "|commands" if is_gateway else ""
    return Rights(
        configure=rf"^({user}\..*|{SHARED})$",
        write=rf"^({user}\..*|cuepost\.(events{commands}|retry\..*)|amq\.default)$",
        read=rf"^({user}\..*|{SHARED})$",
        # accounts' key rotations are told as what an operator did.
        events_write=r"^(accounts|operator\.action)\." if user == "accounts" else rf"^{user}\.",
        commands_write=ANYTHING if is_gateway else NOTHING,
        commands_read=NOTHING if is_gateway else rf"^{user}\.",
    )


EVENTS_PATTERN = r"cuepost\.events"
_CONSUMER = re.compile(r"audit(-[a-z0-9]+){0,8}")


def is_consumer(user: str) -> bool:
    """Whether this is a user for whoever reads events from outside: `audit`, or `audit-NAME`, which has names of its own.

    Each reaches what is named after it alone (`audit.*`, `audit-NAME.*`), so that one can do nothing to another's queues.
    RabbitMQ's patterns do not tell queues from exchanges: who may declare and bind a queue may also declare exchanges of such
    names and publish to them, but their messages reach only queues of the same user.
    """
    return _CONSUMER.fullmatch(user) is not None


def definitions(passwords: Mapping[str, str]) -> dict[str, Any]:
    """Return the whole document, for users with these passwords (one per service, `audit` and `admin`, any `audit-NAME`)."""
    users = sorted(passwords)
    return {
        "vhosts": [{"name": VHOST}],
        "users": [_user(name, passwords[name]) for name in users],
        "permissions": [_permission(name) for name in users],
        "topic_permissions": [entry for name in users for entry in _topic_permissions(name)],
        "exchanges": [_topic_exchange(EVENTS), _topic_exchange(COMMANDS)],
        "queues": [],
        "bindings": [],
        "policies": _bounds("audit", r"^audit(-[a-z0-9-]+)?\.", AUDIT_BYTES),
    }


def _user(name: str, password: str) -> dict[str, Any]:
    return {
        "name": name,
        "password_hash": password_hash(name, password),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": list(rights_of(name).tags),
    }


def password_hash(user: str, password: str) -> str:
    """RabbitMQ's salted SHA-256; the salt follows from the user and password, so that equal input gives equal files."""
    salt = hashlib.sha256(f"cuepost:{user}:{password}".encode()).digest()[:4]
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def _permission(user: str) -> dict[str, str]:
    rights = rights_of(user)
    return {
        "user": user,
        "vhost": VHOST,
        "configure": rights.configure,
        "write": rights.write,
        "read": rights.read,
    }


def _topic_permissions(user: str) -> list[dict[str, str]]:
    rights = rights_of(user)
    return [
        {"user": user, "vhost": VHOST, "exchange": EVENTS, "write": rights.events_write, "read": rights.events_read},
        {
            "user": user,
            "vhost": VHOST,
            "exchange": COMMANDS,
            "write": rights.commands_write,
            "read": rights.commands_read,
        },
    ]


def _topic_exchange(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "vhost": VHOST,
        "type": "topic",
        "durable": True,
        "auto_delete": False,
        "internal": False,
        "arguments": {},
    }


def _bounds(name: str, pattern: str, size: int) -> list[dict[str, Any]]:
    """Return policies of which one applies to any queue: RabbitMQ leaves out one with a key that the queue's type does not take."""
    length = {"max-length-bytes": size}
    return [
        _policy(name, pattern, {**length, "overflow": "drop-head", "expires": WEEK_MILLISECONDS}, priority=1),
        _policy(f"{name}-stream", pattern, {**length, "stream-max-segment-size-bytes": STREAM_SEGMENT_BYTES}, priority=0),
    ]


def _policy(name: str, pattern: str, definition: dict[str, Any], *, priority: int) -> dict[str, Any]:
    return {
        "vhost": VHOST,
        "name": f"cuepost-{name}",
        "pattern": pattern,
        "apply-to": "queues",
        "priority": priority,
        "definition": definition,
    }


def main() -> None:
    """Print the definitions for the passwords in the file named on the command line (JSON: user -> password)."""
    passwords = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    missing = {*SERVICES, "audit", "admin"} - set(passwords)
    if missing:
        sys.exit(f"passwords are missing for: {', '.join(sorted(missing))}")
    print(json.dumps(definitions(passwords), indent=1))


if __name__ == "__main__":
    main()
