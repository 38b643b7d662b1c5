"""Operators see the dead letters of every queue that a service consumes."""

import importlib
import pkgutil

from common.contracts.queues import WORK_QUEUES
from common.messaging.topology import QueueSpec

SERVICES = ("gateway", "accounts", "scheduler", "publisher", "analytics")


def consumed(service: str) -> set[str]:
    """Return the queues that a service's handlers name."""
    package = importlib.import_module(f"{service}.handlers")
    modules = [importlib.import_module(found.name) for found in pkgutil.iter_modules(package.__path__, f"{service}.handlers.")]
    return {value.name for module in modules for value in vars(module).values() if isinstance(value, QueueSpec)}


def test_every_work_queue_is_among_those_of_the_operators() -> None:
    assert sorted(set[str]().union(*map(consumed, SERVICES))) == list(WORK_QUEUES)
