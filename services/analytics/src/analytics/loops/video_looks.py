"""Looks at published videos at some ages and then daily."""

import random
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime, timedelta

import structlog

from analytics.domain.look_failures import LookFailed, MayNotLook, NoTurn
from analytics.domain.look_times import VideoLooks
from analytics.domain.video_verdict import VideoVerdict, WatchedVideo, judge_look, put_off_look, skip_look
from analytics.loops.look_loop import LookLoop
from analytics.metrics import VIDEO_LOOKS
from analytics.storage.clock import database_time
from analytics.storage.due_videos import DueVideos, claim_due_videos, release_videos, seconds_to_next_video, settle_videos
from analytics.tiktok_numbers import TikTokNumbers
from common.database import Database

LEASE = timedelta(seconds=90)
"""Longer than a look may take: videos whose replica died are taken by another after this."""

_log = structlog.get_logger(__name__)


class VideoLooksLoop(LookLoop):
    """Each replica has at most `concurrency` calls' worth of videos in hand, and all together keep TikTok's quota."""

    def __init__(
        self, database: Database, numbers: TikTokNumbers, looks: VideoLooks, *, concurrency: int, lease: timedelta = LEASE
    ) -> None:
        super().__init__("video-looks", numbers.video_query_pace, concurrency=concurrency)
        self._database = database
        self._numbers = numbers
        self._looks = looks
        self._lease = lease

    async def _claim(self, free: int) -> Sequence[Coroutine[None, None, None]]:
        claimed: list[DueVideos] = []
        while len(claimed) < free:
            async with self._database.transaction() as tx:
                due = await claim_due_videos(tx.driver, lease=self._lease)
            if due is None:
                break
            claimed.append(due)
        return [self._look(due) for due in claimed]

    async def _seconds_to_next(self) -> float | None:
        async with self._database.read_fast() as driver:
            return await seconds_to_next_video(driver)

    async def _look(self, due: DueVideos) -> None:
        for outcome, number in (await self._take(due)).items():
            VIDEO_LOOKS.labels(outcome).inc(number)

    async def _take(self, due: DueVideos) -> Counter[str]:
        """Bring the videos of one account forward and return how that ended, for each."""
        if not due.is_allowed:
            return await self._skip(due)
        try:
            shown = await self._numbers.of_videos(due.account_id, [video.video_id for video in due.videos])
        except NoTurn:
            self.pause()
            async with self._database.transaction() as tx:
                await release_videos(tx.driver, due)
            return Counter(no_turn=len(due.videos))
        except MayNotLook as reason:
            _log.info("videos_not_allowed", account_id=str(due.account_id), reason=reason.code, videos=len(due.videos))
            return await self._skip(due)
        except LookFailed as failure:
            return await self._failed(due, failure)
        verdicts = await self._settle(due, lambda video, now: judge_look(video, shown, self._looks, now))
        return Counter("left_out" if verdict.numbers is None else "ok" for verdict in verdicts)

    async def _skip(self, due: DueVideos) -> Counter[str]:
        await self._settle(due, lambda video, now: skip_look(video, self._looks, now))
        return Counter(not_allowed=len(due.videos))

    async def _failed(self, due: DueVideos, failure: LookFailed) -> Counter[str]:
        jitter, at_least = random.random(), timedelta(seconds=failure.retry_after)  # noqa: S311 - jitter, not a secret
        await self._settle(due, lambda video, now: put_off_look(video, self._looks, now, at_least=at_least, jitter=jitter))
        _log.warning("videos_failed", account_id=str(due.account_id), reason=failure.code, videos=len(due.videos))
        return Counter(failed=len(due.videos))

    async def _settle(self, due: DueVideos, judge: Callable[[WatchedVideo, datetime], VideoVerdict]) -> list[VideoVerdict]:
        async with self._database.transaction() as tx:
            now = await database_time(tx.driver)
            verdicts = [judge(video, now) for video in due.videos]
            await settle_videos(tx.driver, due, verdicts, at=now)
        return verdicts
