"""Brings the copies forward: what the audit trail holds behind the place it was read to."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from analytics.domain.account_copy import ACCOUNT_KEYS, AccountCopy, follow_account, measure_in
from analytics.domain.event import Event
from analytics.domain.event_fields import uuid_of
from analytics.domain.look_times import VideoLooks
from analytics.domain.post_copy import POST_KEYS, PostCopy, follow_post
from analytics.storage.account_copies import find_accounts, save_accounts
from analytics.storage.account_measures import store_measures
from analytics.storage.post_copies import find_posts, forget_measures, restore_counters, save_posts
from analytics.storage.projection import move_to, read_behind, take_place
from common.database import Transaction
from common.database.database import Driver

LIMIT = 500
MAY_BE_MEASURED_ALREADY = timedelta(minutes=5)
"""A publication that is heard of later than this may be one of before the copies were made anew; and a video's right id is known
here so long after it was recorded."""


@dataclass(frozen=True, slots=True)
class ProjectionRules:
    """When videos are looked at, and how old measures are kept."""

    looks: VideoLooks
    snapshots_kept: timedelta


@dataclass(frozen=True, slots=True)
class Projected:
    """What a step did: records read, whether more wait, and whether accounts changed."""

    records: int = 0
    more: bool = False
    accounts_changed: bool = False


async def project_events(tx: Transaction, rules: ProjectionRules, *, now: datetime, limit: int = LIMIT) -> Projected:
    """Read up to `limit` records and bring the copies forward with them; nothing while another replica does it.

    The place moves in the same transaction, so each record has its effect once; and the effects do not depend on their order.
    """
    place = await take_place(tx.driver)
    if place is None:
        return Projected()
    read = await read_behind(tx.driver, place, keys=(*ACCOUNT_KEYS, *POST_KEYS), limit=limit)
    if read.last == place:
        return Projected()
    of_accounts = [(recorded_at, event) for recorded_at, event in read.records if event.key in ACCOUNT_KEYS]
    of_posts = [(recorded_at, event) for recorded_at, event in read.records if event.key in POST_KEYS]
    accounts_changed = await _follow_accounts(tx.driver, of_accounts, oldest=now - rules.snapshots_kept)
    await _follow_posts(tx.driver, of_posts, rules.looks, now)
    await move_to(tx.driver, read.last)
    return Projected(len(read.records), read.full, accounts_changed)


async def _follow_accounts(driver: Driver, told: Sequence[tuple[datetime, Event]], *, oldest: datetime) -> bool:
    if not told:
        return False
    known = await find_accounts(driver, _subjects(event for _, event in told))
    changed: dict[UUID, AccountCopy] = {}
    for _, event in told:
        account_id = uuid_of(event.subject)
        if account_id is None:
            continue
        before = changed.get(account_id) or known.get(account_id)
        after = follow_account(before, event)
        if after is not None and after is not before:
            changed[account_id] = after
    await save_accounts(driver, changed.values())
    measures = [measure for recorded_at, event in told if (measure := measure_in(event, recorded_at=recorded_at)) is not None]
    await store_measures(driver, [measure for measure in measures if measure.collected_at >= oldest])
    return bool(changed)


async def _follow_posts(driver: Driver, told: Sequence[tuple[datetime, Event]], looks: VideoLooks, now: datetime) -> None:
    if not told:
        return
    known = await find_posts(driver, _subjects(event for _, event in told))
    changed: dict[UUID, PostCopy] = {}
    corrected: dict[UUID, datetime] = {}
    for recorded_at, event in told:
        post_id = uuid_of(event.subject)
        if post_id is None:
            continue
        before = changed.get(post_id) or known.get(post_id)
        after = follow_post(before, event)
        if after is not None and after is not before:
            changed[post_id] = after
            if before is not None and before.tiktok_video_id not in (None, after.tiktok_video_id):
                corrected[post_id] = recorded_at
    measurable = {
        post_id: copy
        for post_id, copy in changed.items()
        if copy.is_measurable and (post_id in corrected or not (post_id in known and known[post_id].is_measurable))
    }
    if corrected:
        await forget_measures(driver, {post_id: at + MAY_BE_MEASURED_ALREADY for post_id, at in corrected.items()})
    await save_posts(driver, changed.values(), measured_from=_first_looks(measurable, looks, now))
    older = {
        post_id: copy.published_at
        for post_id, copy in measurable.items()
        if copy.published_at is not None and copy.published_at < now - MAY_BE_MEASURED_ALREADY
    }
    if older:
        await restore_counters(driver, older.keys(), since=min(older.values()))


def _first_looks(copies: Mapping[UUID, PostCopy], looks: VideoLooks, now: datetime) -> dict[UUID, datetime]:
    found: dict[UUID, datetime] = {}
    for post_id, copy in copies.items():
        if copy.published_at is not None and copy.account_id is not None:
            at = looks.next_look(copy.published_at, copy.account_id, now)
            if at is not None:
                found[post_id] = at
    return found


def _subjects(events: Iterable[Event]) -> set[UUID]:
    return {subject for event in events if (subject := uuid_of(event.subject)) is not None}
