"""`python -m audit_tail [PATTERN ...]`: events as they come, of the broker in AMQP_URL, else of the local stack.

A pattern is one of RabbitMQ's topic exchanges: `scheduler.post.#`, `*.account.*.v1`. `--json` prints whole events, one a line.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from contextlib import suppress

import orjson
from aio_pika.exceptions import ProbableAuthenticationError
from rich.console import Console

from audit_tail.line import line
from audit_tail.tail import tail
from localstack.demo_access import read_stack_env
from localstack.paths import CHECKOUT, Paths


def main() -> int:
    """Run from the command line, until interrupted."""
    parser = argparse.ArgumentParser(prog="audit-tail", description="Print events as they come.")
    parser.add_argument(
        "patterns", nargs="*", metavar="PATTERN", help="routing keys, such as scheduler.post.#; all without one"
    )
    parser.add_argument("--json", action="store_true", help="whole events, one a line")
    options = parser.parse_args()
    url = os.environ.get("AMQP_URL") or read_stack_env(Paths(CHECKOUT)).get("AMQP_URL")
    if not url:
        print("no broker: set AMQP_URL, or start the local stack with: make up", file=sys.stderr)
        return 2
    out, notices = Console(soft_wrap=True, highlight=False), Console(stderr=True, highlight=False)

    def show(body: bytes) -> None:
        if options.json:
            sys.stdout.write(body.decode() + "\n")
            sys.stdout.flush()
        else:
            out.print(line(orjson.loads(body)))

    def notice(text: str) -> None:
        notices.print(text, style="dim", markup=False)

    # What becomes of the connection is told in our own words.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        with suppress(KeyboardInterrupt):
            asyncio.run(tail(url, options.patterns or ["#"], show, notice))
    except ProbableAuthenticationError:
        notice("the broker does not let this user in")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
