"""`python -m common.messaging.dead_letter_command`: what operators do with dead letters. AMQP_URL needs an operator's rights.

(no arguments)              how many each queue has
show QUEUE                  each with its reason
replay QUEUE [ID ...]       back into the queue, all or those with these ids
drop QUEUE ID ...           gone for good, those with these ids; all of them: drop QUEUE --all
"""

import argparse
import asyncio
import getpass
import sys

from common.contracts.queues import WORK_QUEUES
from common.messaging.dead_letter_box import DeadLetter, DeadLetterBox, Wanted, dead_letter_box
from common.messaging.operator_action import OperatorSettings
from common.settings import load


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Return action, queue and ids; exits with a usage message on anything else."""
    parser = argparse.ArgumentParser(prog="dead-letters", description="Show, replay or drop dead letters.")
    parser.add_argument("action", nargs="?", default="list", choices=["list", "show", "replay", "drop"])
    parser.add_argument("queue", nargs="?", choices=WORK_QUEUES)
    parser.add_argument("ids", nargs="*", help="ids as shown; replay without any: all")
    parser.add_argument("--all", action="store_true", help="drop every dead letter of the queue")
    parsed = parser.parse_args(arguments)
    if parsed.action != "list" and parsed.queue is None:
        parser.error(f"{parsed.action} needs a queue: {', '.join(WORK_QUEUES)}")
    if parsed.action == "drop" and bool(parsed.ids) == parsed.all:
        parser.error("drop needs the ids of what is to be dropped, or --all")
    return parsed


async def run(box: DeadLetterBox, action: str, queue: str | None, ids: list[str]) -> list[str]:
    """Do it and return the lines to print."""
    if action == "list" or queue is None:
        return [f"{name:<28} {await box.count(name)}" for name in WORK_QUEUES]
    if action == "show":
        letters = await box.show(queue)
    elif action == "replay":
        letters = await box.replay(queue, _wanted(ids))
    else:
        letters = await box.drop(queue, _wanted(ids))
    done = {"show": "dead letters", "replay": "replayed", "drop": "dropped"}[action]
    return [*(_line(letter) for letter in letters), f"{len(letters)} {done} in {queue}"]


def _wanted(ids: list[str]) -> Wanted:
    chosen = set(ids)
    return lambda letter: not chosen or letter.id in chosen


def _line(letter: DeadLetter) -> str:
    what = letter.envelope.key if letter.envelope is not None else f"{len(letter.body)} bytes that are no envelope"
    return f"{letter.died_at}  {letter.id}  {what}  after {letter.attempts}: {letter.error}: {letter.reason}"


async def _main(parsed: argparse.Namespace) -> None:
    async with dead_letter_box(load(OperatorSettings).amqp_url, operator=getpass.getuser()) as box:
        lines = await run(box, parsed.action, parsed.queue, parsed.ids)
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    asyncio.run(_main(parse_arguments(sys.argv[1:])))
