"""Parts on their own: storage of files, crash points, accounts' cache, failure mapping, retention, the heartbeat's health."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError
from sqlalchemy import text, update

from common.ids import uuid7
from common.messaging.inbox import Inbox
from common.settings import problems_of
from common.testing.eventually import eventually
from common.testing.keys import ServiceKeys
from publisher.clients.accounts import MAX_CACHED, AccountsClient
from publisher.clients.media_store import MediaMissing, MediaStore, MediaUnavailable
from publisher.clients.tiktok_troubles import failure_from, trouble_of
from publisher.domain.job import State, Transfer
from publisher.domain.troubles import TroubleKind
from publisher.loops.heartbeat import Heartbeat
from publisher.loops.retention import Retention
from publisher.runner.lease import Lease
from publisher.settings import Settings
from publisher.storage.intake import transfer_of
from publisher.storage.job import Job
from publisher.storage.tables import inbox, publish_jobs
from tiktok._http import CALL_SECONDS
from tiktok.errors import GrantInvalid, TikTokRateLimited, TikTokRefused, TikTokUnavailable, TokenInvalid


def test_the_end_of_a_publisher_leaves_time_for_an_init_and_for_the_hand_back(service_keys: ServiceKeys) -> None:
    fields = {
        "amqp_url": "amqp://localhost", "database_url": "postgresql://localhost/x", "storage_url": "file:///x",
        "service_private_key": service_keys.private_text("publisher"), "service_public_keys": service_keys.public_texts(),
    }  # fmt: skip
    assert Settings(**fields).drain_seconds > CALL_SECONDS
    assert Settings(**fields, shutdown_grace_seconds=20.0, drain_seconds=8.0).drain_seconds == 8.0
    for times in (
        {"drain_seconds": 32.5},
        {"shutdown_grace_seconds": 79.0},
        {"shutdown_grace_seconds": 20, "drain_seconds": 10},
    ):
        with pytest.raises(ValidationError) as raised:
            Settings(**fields, **times)
        (problem,) = problems_of(raised.value)
        assert problem.startswith("DRAIN_SECONDS: must be at most 0.4 of SHUTDOWN_GRACE_SECONDS")


async def test_files_are_read_in_pieces_and_only_the_range(tmp_path: Path) -> None:
    (tmp_path / "a file.bin").write_bytes(bytes(range(256)) * 8192)
    store = MediaStore(f"file://{tmp_path}")
    assert await store.size("a file.bin") == 256 * 8192
    pieces = [piece async for piece in store.read("a file.bin", 100, 1_500_000)]
    assert b"".join(pieces) == (bytes(range(256)) * 8192)[100:1_500_001]
    assert max(map(len, pieces)) < 1_100_000


async def test_a_missing_file_is_told_apart_from_a_store_that_is_away(tmp_path: Path) -> None:
    store = MediaStore(f"file://{tmp_path}")
    with pytest.raises(MediaMissing):
        await store.size("nothing")
    with pytest.raises(MediaMissing):
        [piece async for piece in store.read("nothing", 0, 1)]
    away = MediaStore("s3://bucket/prefix")
    away._store = _unreachable()
    with pytest.raises(MediaUnavailable):
        await away.size("x")
    with pytest.raises(MediaUnavailable):
        [piece async for piece in away.read("x", 0, 1)]


def _unreachable() -> Any:
    from obstore.store import S3Store

    return S3Store(
        "bucket", endpoint="http://127.0.0.1:9", region="x", access_key_id="x", secret_access_key="x",
        client_options={"allow_http": True}, retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=1)},
    )  # fmt: skip


def test_a_publisher_of_any_other_build_than_the_tests_dies_nowhere() -> None:
    """No setting chooses a point, and what is told of one does nothing."""
    assert not [name for name in Settings.model_fields if "crash" in name]
    program = "from publisher.app import NOWHERE; NOWHERE.reach('x')"
    chosen = {"CRASH_POINT": "x", "CRASH_POINTS_ENABLED": "true"}
    assert subprocess.run([sys.executable, "-c", program], check=False, env=os.environ | chosen).returncode == 0


class Answers:
    def __init__(self) -> None:
        self.asked = 0

    async def post(self, path: str, **_: Any) -> dict[str, Any]:
        self.asked += 1
        return json.loads(
            '{"access_token": "secret-token", "open_id": "o", "username": "u", "expires_at": "2030-01-01T00:00:00Z"}'
        )


async def test_tokens_are_cached_for_status_reads_only_and_not_without_bound() -> None:
    answers = Answers()
    client = AccountsClient(answers)  # type: ignore[arg-type]
    account = uuid7()
    access = await client.access(account)
    assert "secret-token" not in repr(access)
    await client.access(account, cached=True)
    assert answers.asked == 1
    await client.access(account)
    await client.access(account, cached=True, refused=access.access_token)
    assert answers.asked == 3
    for number in range(MAX_CACHED):
        await client.access(UUID(int=number))
    assert len(client._cache) <= MAX_CACHED


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TikTokUnavailable("unreachable", sent=False), TroubleKind.NOT_SENT),
        (TikTokUnavailable("internal_error", sent=True), TroubleKind.NO_VERDICT),
        (TikTokRateLimited("rate_limit_exceeded"), TroubleKind.BUSY),
        (TokenInvalid("access_token_invalid"), TroubleKind.ACCOUNT_WAITS),
        (GrantInvalid("invalid_grant"), TroubleKind.ACCOUNT_WAITS),
        (TikTokRefused("spam_risk_too_many_posts", http_status=403), TroubleKind.BUSY),
        (TikTokRefused("internal", http_status=403), TroubleKind.RETRYABLE),
        (TikTokRefused("spam_risk_user_banned_from_posting", http_status=403), TroubleKind.ACCOUNT_WAITS),
        (TikTokRefused("privacy_level_option_mismatch", http_status=403), TroubleKind.FINAL),
    ],
)
def test_errors_of_the_client_become_troubles(error: Any, kind: TroubleKind) -> None:
    trouble = trouble_of(error)
    assert trouble.kind is kind
    assert trouble.reason.code == f"tiktok_{error.code}"


def test_tiktoks_own_words_are_passed_on() -> None:
    error = TikTokRefused("invalid_params", http_status=400, message="title too long", log_id="L1")
    reason = trouble_of(error).reason
    assert reason.message.endswith("TikTok says: title too long")
    assert reason.log_id == "L1"


def test_fail_reasons() -> None:
    assert (failure_from("internal").retryable, failure_from("internal").reason.code) == (True, "tiktok_internal")
    cap = failure_from("spam_risk_too_many_posts")
    assert (cap.retryable, cap.retry_after) == (True, 3600.0)
    banned = failure_from("spam_risk_user_banned_from_posting", "L")
    assert (banned.retryable, banned.retry_after, banned.reason.log_id) == (True, None, "L")
    assert not failure_from("spam_risk").retryable
    assert failure_from(None).retryable


def test_transfers(world: Any) -> None:
    assert transfer_of(world.post(uuid7(), None)) is Transfer.FILE
    assert transfer_of(world.post(uuid7(), None, transfer="pull")) is Transfer.PULL
    assert transfer_of(world.post(uuid7(), None, photo_urls=["https://example.com/a.jpg"])) is Transfer.PHOTO


async def test_what_ended_long_ago_is_removed_and_nothing_else(world: Any) -> None:
    now = await world.database_now()
    old = now - timedelta(days=35)
    posts = [world.post(uuid7(), None, publish_before=old) for _ in range(3)]
    told_again = world.post(uuid7(), None, publish_before=now + timedelta(days=300))
    unknown = world.post(uuid7(), None, publish_before=old)
    await world.accept(*posts, told_again, unknown)
    async with world.database.transaction() as tx:
        for post, state in ((told_again, State.SUCCEEDED), (unknown, State.UNCONFIRMED)):
            await tx.connection.execute(
                update(publish_jobs)
                .where(publish_jobs.c.post_id == post.post_id)
                .values(state=state.value, run_at=None, finished_at=now - timedelta(days=40))
            )
        await Inbox(inbox).unseen(tx, "q", [uuid7(), uuid7()])
        for number, age in enumerate(("40 days", "1 day")):
            await tx.connection.execute(
                text(
                    "UPDATE publish_jobs SET state = 'failed', run_at = NULL, finished_at = now() - CAST(:age AS interval) "
                    "WHERE post_id = :post"
                ).bindparams(age=timedelta(days=int(age.split()[0])), post=posts[number].post_id)
            )
        await tx.connection.execute(text("UPDATE inbox_messages SET received_at = now() - interval '20 days'"))
    days = timedelta(days=1)
    retention = Retention(world.database, Inbox(inbox), jobs_kept=30 * days, inbox_kept=14 * days)
    result = await retention.step()
    assert (result.done, result.more) == (3, False)
    assert (await retention.step()).done == 0
    assert await world.accept(told_again) == 0
    assert (await world.job(unknown)).checkpoint.state is State.UNCONFIRMED


async def test_the_heartbeat_tells_when_leases_are_not_renewed(world: Any) -> None:
    heartbeat = Heartbeat(world.database, lease=timedelta(seconds=0.3))
    await heartbeat.stop()
    broken: list[bool] = [True]
    beat = heartbeat.beat

    async def sometimes() -> None:
        if broken[0]:
            raise RuntimeError
        await beat()

    heartbeat.beat = sometimes  # type: ignore[method-assign]
    heartbeat.hold(Lease(uuid7(), 1, valid_until=0.0), lambda: None)
    await heartbeat.start()
    await eventually(lambda: heartbeat.healthy() == "leases not renewed: RuntimeError")
    broken[0] = False
    await eventually(lambda: heartbeat.healthy() is None)
    assert not heartbeat.held
    await heartbeat.stop()


async def test_a_job_shows_no_secret(world: Any) -> None:
    post = world.post(uuid7(), None)
    await world.accept(post)
    async with world.database.transaction() as tx:
        await tx.connection.execute(text("UPDATE publish_jobs SET upload_url = 'https://upload/secret'"))
    job: Job = await world.job(post)
    assert "secret" not in repr(job)
    assert datetime.now(UTC) - job.updated_at < timedelta(minutes=5)
