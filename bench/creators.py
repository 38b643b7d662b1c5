"""Creators at the simulator, connected to Cuepost."""

from typing import Any
from uuid import UUID

from common.ids import uuid7
from tiktok_simulator.driver import Driver


async def connected(driver: Driver, number: int) -> dict[UUID, dict[str, Any]]:
    """Connect so many new creators; returns what accounts knows of each, by the account's id."""
    known: dict[UUID, dict[str, Any]] = {}
    for place in range(number):
        username = f"creator_{place}"
        await driver.admin("POST", "creators", {"username": username})
        tokens = await driver.connect(username)
        known[uuid7()] = {"access_token": tokens["access_token"], "open_id": tokens["open_id"], "username": username}
    return known
