"""Files whose bytes are gone from the object storage: told as soon as a post wants them."""

from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient

from common.contracts.scheduler import GivenFields
from common.ids import uuid7
from scheduler.clients.object_storage import ObjectStorage
from scheduler.usecases.stored_files import StoredFiles

pytestmark = pytest.mark.integration


@pytest.fixture
async def lost(author: Any, world: Any) -> UUID:
    """Return a file of the author's library whose bytes are gone."""
    media_id: UUID = await world.media(author.user_id, storage_key=f"media/{uuid7()}", sha256="cd" * 32)
    return media_id


def told(body: Any) -> list[tuple[str, str]]:
    return [(warning["field"], warning["code"]) for warning in body["warnings"]]


async def test_a_post_on_a_lost_file_says_so_when_it_is_made(author: Any, lost: UUID) -> None:
    reply = await author.create(media_id=lost)
    assert (reply.status, told(reply.body)) == (201, [("media_id", "media_lost")])
    assert reply.body["warnings"][0]["hint"]


async def test_a_dry_run_says_so_too(author: Any, lost: UUID) -> None:
    body = GivenFields.model_validate(author.plain() | {"media_id": lost}).to_data()
    headers = author.scheduler.user_keys.authorization(author.user_id)
    async with AsyncClient(base_url=author.scheduler.url, trust_env=False, timeout=10) as http:
        answer = await http.post("/internal/posts/validate", json=body, headers=headers)
    assert answer.json()["valid"] is True
    assert told(answer.json()) == [("media_id", "media_lost")]


async def test_a_change_to_a_lost_file_says_so_and_one_back_takes_it_away(author: Any, lost: UUID) -> None:
    post = await author.post()
    changed = await author.change(post, media_id=lost)
    assert told(changed.body) == [("media_id", "media_lost")]
    back = await author.change(post, media_id=author.media_id)
    assert told(back.body) == []


async def test_nothing_is_said_of_a_file_that_cannot_be_seen(world: Any, author: Any) -> None:
    away = StoredFiles(world.database, ObjectStorage("file:///nowhere"))
    assert await away.look(author.media_id, author.user_id) is None
    assert await away.look(uuid7(), author.user_id) is None
