"""`python -m bench [--strict] [NAME ...]`: run the benchmarks of these names, or all."""

import argparse
import asyncio
import os
import platform
import sys

from bench import (
    accounts_lists,
    bare_parts,
    bulk,
    due_posts,
    event_intake,
    fairness,
    gateway,
    live_stream,
    processing,
    statistics,
    uploads,
)
from bench.figures import missed
from common.testing.servers import TestServers

BENCHMARKS = {
    "accounts_lists": accounts_lists.run,
    "bare_parts": bare_parts.run,
    "bulk": bulk.run,
    "due_posts": due_posts.run,
    "event_intake": event_intake.run,
    "fairness": fairness.run,
    "gateway": gateway.run,
    "live_stream": live_stream.run,
    "processing": processing.run,
    "statistics": statistics.run,
    "uploads": uploads.run,
}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", nargs="*", help=", ".join(BENCHMARKS))
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a goal was missed, after all tables")
    asked = parser.parse_args()
    names = asked.name or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"no such benchmark: {unknown[0]}")
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f} at the start")
    servers = TestServers(durable=True)
    try:
        for name in names:
            asyncio.run(BENCHMARKS[name](servers))
    finally:
        servers.stop()
    if asked.strict and missed():
        sys.exit(f"missed: {'; '.join(missed())}")


if __name__ == "__main__":
    main()
