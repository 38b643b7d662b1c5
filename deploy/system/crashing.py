"""A stack whose publishers die, or hang, at the points that a test arms."""

from pathlib import Path
from typing import TypedDict

from localstack.paths import CHECKOUT


class Crashing(TypedDict):
    """Arguments of a `Stack`."""

    modules: dict[str, str]
    service_environment: dict[str, dict[str, str]]


def crashing(points: Path) -> Crashing:
    """Return what makes a stack's publishers look into this folder at each crash point."""
    environment = {"PYTHONPATH": str(CHECKOUT / "deploy"), "CRASH_POINTS_FOLDER": str(points)}
    return {"modules": {"publisher": "crashing_publisher"}, "service_environment": {"publisher": environment}}
