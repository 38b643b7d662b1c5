"""A post as its owner wants it: what was given, what it means, and which rules it breaks by itself."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from common.contracts.scheduler import PostFields
from scheduler.domain.address_endings import unlikely_formats
from scheduler.domain.finding import Finding
from scheduler.domain.ignored_options import ignored_options
from scheduler.domain.post import Post
from scheduler.domain.post_content import PostInput
from scheduler.domain.post_rules import check_post
from scheduler.domain.schedule_time import DEFAULT_DEADLINE, check_publish_before, check_timezone, resolve_scheduled_time

_KEPT_AS_GIVEN = frozenset(PostFields.model_fields) - {
    "tiktok_account_id",
    "scheduled_time",
    "publish_before",
    "draft",
    "allow_duplicate",
}
"""Fields that are stored as they come: a column of the same name each."""


@dataclass(frozen=True, slots=True)
class WantedPost:
    """`fields` with their instants (UTC, None for a draft without a time); `findings` are the rules broken by these alone."""

    fields: PostFields
    scheduled_time: datetime | None
    publish_before: datetime | None
    findings: tuple[Finding, ...]
    warnings: tuple[Finding, ...] = ()

    def columns(self) -> dict[str, Any]:
        """Return the columns that follow from the fields alone."""
        given = self.fields.model_dump(include=set(_KEPT_AS_GIVEN))
        return {**given, "scheduled_time": self.scheduled_time, "publish_before": self.publish_before}


def want_post(fields: PostFields, *, now: datetime, allowed_hosts: AbstractSet[str]) -> WantedPost:
    """Read the fields of a new post, judged at `now`, the time of the request: every broken rule is found, not the first."""
    findings: list[Finding] = []
    instant: datetime | None = None
    if fields.scheduled_time is not None:
        resolved = resolve_scheduled_time(fields.scheduled_time, fields.timezone, now=now)
        if isinstance(resolved, Finding):
            findings.append(resolved)
        else:
            instant = resolved
    elif (unknown := check_timezone(fields.timezone)) is not None:
        findings.append(unknown)
    deadline = fields.publish_before
    if deadline is not None:
        findings += filter(None, [check_publish_before(deadline, now=now)])
    elif instant is not None:
        deadline = instant + DEFAULT_DEADLINE
    return _checked(fields, instant, deadline, findings, allowed_hosts)


def want_change(post: Post, given: dict[str, Any], *, now: datetime, allowed_hosts: AbstractSet[str]) -> WantedPost:
    """Read what becomes of a draft or scheduled post with the `given` fields; what was not given stays, and its time is not judged.

    A draft that is to be scheduled is judged whole. The deadline moves with the time unless it was chosen by itself.
    """
    is_draft = post.status == "draft"
    becomes_scheduled = is_draft and given.get("draft") is False
    stored = {name: getattr(post, name) for name in _KEPT_AS_GIVEN}
    stored |= {"tiktok_account_id": post.account_id, "draft": is_draft, "scheduled_time": post.scheduled_time}
    is_chosen = post.publish_before is not None and not _is_default_deadline(post)
    stored["publish_before"] = post.publish_before if is_chosen else None
    fields = PostFields.model_validate(stored | given)
    if "scheduled_time" in given or becomes_scheduled or post.scheduled_time is None:
        wanted = want_post(fields, now=now, allowed_hosts=allowed_hosts)
    else:
        wanted = _with_kept_time(post, post.scheduled_time, fields, given, now=now, allowed_hosts=allowed_hosts)
    if not is_draft and fields.draft:
        refused = Finding(
            "draft",
            "already_scheduled",
            "A scheduled post does not become a draft again.",
            "Leave draft out. Give another scheduled_time, or cancel the post.",
        )
        return WantedPost(fields, wanted.scheduled_time, wanted.publish_before, (*wanted.findings, refused))
    return wanted


def _with_kept_time(
    post: Post, kept: datetime, fields: PostFields, given: dict[str, Any], *, now: datetime, allowed_hosts: AbstractSet[str]
) -> WantedPost:
    findings = [found for found in [check_timezone(fields.timezone)] if found is not None]
    deadline = post.publish_before
    if "publish_before" in given:
        deadline = fields.publish_before or kept + DEFAULT_DEADLINE
        if fields.publish_before is not None:
            findings += filter(None, [check_publish_before(fields.publish_before, now=now)])
    wanted = _checked(fields, kept, deadline, findings, allowed_hosts)
    if "publish_before" in given:
        return wanted
    # Publish-now leaves the time as it is and sets the deadline, which may come before it.
    return replace(wanted, findings=tuple(item for item in wanted.findings if item.code != "publish_before_too_early"))


def _is_default_deadline(post: Post) -> bool:
    return post.scheduled_time is not None and post.publish_before == post.scheduled_time + DEFAULT_DEADLINE


def _checked(
    fields: PostFields,
    instant: datetime | None,
    deadline: datetime | None,
    findings: Sequence[Finding],
    allowed_hosts: AbstractSet[str],
) -> WantedPost:
    """Add the rules of the post itself."""
    post = _as_input(fields, instant, deadline)
    rules = check_post(post, allowed_hosts=allowed_hosts)
    if fields.scheduled_time is not None:
        # It is there, only not understood, and the findings say why.
        rules = [item for item in rules if item.code != "scheduled_time_required"]
    return WantedPost(fields, instant, deadline, (*findings, *rules), (*ignored_options(post), *unlikely_formats(post)))


def _as_input(fields: PostFields, instant: datetime | None, deadline: datetime | None) -> PostInput:
    return PostInput(
        caption=fields.caption,
        hashtags=tuple(fields.hashtags),
        mentions=tuple(fields.mentions),
        privacy_level=fields.privacy_level,
        has_media=fields.media_id is not None,
        source_url=fields.source_url,
        photo_urls=tuple(fields.photo_urls),
        mode=fields.mode,
        transfer=fields.transfer,
        disable_comment=fields.disable_comment,
        disable_duet=fields.disable_duet,
        disable_stitch=fields.disable_stitch,
        brand_content_toggle=fields.brand_content_toggle,
        brand_organic_toggle=fields.brand_organic_toggle,
        is_aigc=fields.is_aigc,
        cover_timestamp_ms=fields.cover_timestamp_ms,
        photo_title=fields.photo_title,
        photo_cover_index=fields.photo_cover_index,
        auto_add_music=fields.auto_add_music,
        scheduled_time=instant,
        publish_before=deadline,
        draft=fields.draft,
    )
