"""A command that cannot be carried out becomes a dead letter, and its operation says that it failed."""

from typing import Any
from uuid import UUID

import pytest

from common.errors import Permanent
from common.testing.eventually import eventually

pytestmark = pytest.mark.integration

POSTS = "/api/v1/posts"


async def test_its_operation_says_that_it_failed(
    run_gateway: Any, service: Any, services: Any, auth: Any, user_id: UUID
) -> None:
    service.failure = Permanent("never")
    service.may_go_on.clear()
    async with run_gateway(command_timeout_seconds=0.2) as client:
        answer = await client.post(POSTS, json={"caption": "x"}, headers=auth)
        assert answer.status_code == 202
        location = answer.headers["location"]
        await service.answer_operation(services, location, user_id)
        assert (await client.get(location, headers=auth)).json()["status"] == "pending"
        service.may_go_on.set()

        async def done() -> Any:
            shown = (await client.get(location, headers=auth)).json()
            return shown["answer"] if shown["status"] == "done" else None

        failed = await eventually(done)
        assert (failed["status"], failed["body"]["code"]) == (500, "command_failed")
        assert "operator" in failed["body"]["hint"]
        assert await service.count() == 0


async def test_who_still_waits_hears_it_at_once_and_the_key_is_not_used_up(
    first_gateway: Any, service: Any, auth: Any
) -> None:
    keyed = {**auth, "Idempotency-Key": "k"}
    service.failure = Permanent("never")
    failed = await first_gateway.post(POSTS, json={"caption": "x"}, headers=keyed)
    assert (failed.status_code, failed.json()["code"]) == (500, "command_failed")
    service.failure = None
    assert (await first_gateway.post(POSTS, json={"caption": "x"}, headers=keyed)).json() == {"effect": 2}
