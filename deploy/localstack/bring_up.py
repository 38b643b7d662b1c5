"""`make up`: from what the environment asks for to the block that says it is ready, one command at a time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from localstack.blueprint import Blueprint
from localstack.ready import make_ready, ready_block
from localstack.stack import Stack
from localstack.steps import Say


def bring_up(root: Path, environment: Mapping[str, str], say: Say) -> None:
    """Start the stack below `root` as the environment describes it and say where things are.

    Of several at once, each begins when the one before it is ready: it finds what that one stored and made, and keeps it.
    Raises StackError as `Stack.up` does.
    """
    began = time.monotonic()
    with Stack.saved(root, say=say).exclusive():
        before = Stack.saved(root)
        running = bool(before.states() or before.orphans())
        blueprint = Blueprint.from_environment(environment, before.blueprint, running=running)
        stack = Stack(root, blueprint=blueprint, say=say)
        say("Starting Cuepost")
        stack.up_alone()
        key = make_ready(stack)
        say(ready_block(stack, key, time.monotonic() - began))
