"""What an event says to a person: one sentence per event type of a post."""

from collections.abc import Callable
from datetime import UTC, datetime

from analytics.domain.event import Event


def sentence(event: Event) -> str:
    """Return a sentence for any event; a type without one of its own is named by its key."""
    speak = _SENTENCES.get(event.family)
    return speak(event) if speak is not None else f"{event.family} was recorded."


def _when(event: Event, name: str) -> str:
    """Say a time field in UTC, to the second; `an unknown time` when the event does not tell."""
    text = event.text(name)
    if text is None:
        return "an unknown time"
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError):
        return text


def _because(event: Event) -> str:
    """Say why, with the sender's own sentence where there is one, and what to do."""
    reason = event.text("message") or (event.text("reason", "code") or "").replace("_", " ")
    hint = event.text("hint")
    said = f": {reason.rstrip('.')}." if reason else "."
    return f"{said} {hint}" if hint else said


def _attempt(event: Event) -> str:
    number = event.number("attempt")
    return f"Attempt {number:.0f}" if number else "The attempt"


def _scheduled(event: Event) -> str:
    return f"Scheduled for {_when(event, 'scheduled_time')}."


def _updated(event: Event) -> str:
    changes = event.data.get("changes")
    names = ", ".join(sorted(changes)) if isinstance(changes, dict) else ""
    return f"Changed: {names}." if names else "Changed."


def _held(event: Event) -> str:
    if event.data.get("held") is False:
        return f"Goes on{_because(event)}"
    return f"Waits for its account{_because(event)}"


def _due(event: Event) -> str:
    return f"Its time has come ({_when(event, 'due_at')}): {_attempt(event).lower()} was handed to the publisher."


def _retry_scheduled(event: Event) -> str:
    if event.data.get("by_owner") is True:
        is_word = event.data.get("confirmed_not_published") is True
        return f"Its owner {'says that it was not published, and ' if is_word else ''}wants another attempt."
    return f"Will be tried again at {_when(event, 'next_attempt_at')}{_because(event)}"


def _published(event: Event) -> str:
    if event.text("status") == "sent_to_inbox":
        return "Delivered to the creator's TikTok inbox, where the creator finishes the post."
    if event.data.get("by_owner") is True:
        return f"Its owner found it on TikTok as {event.text('tiktok_video_id') or 'unknown'}."
    return f"Published on TikTok at {_when(event, 'published_at')}."


def _started(event: Event) -> str:
    replica, lateness = event.text("replica"), event.number("lateness_ms")
    by = f" on {replica}" if replica else ""
    late = f", {lateness:.0f} ms after its time" if lateness is not None else ""
    return f"{_attempt(event)} started{by}{late}."


def _publish_deferred(event: Event) -> str:
    until = f" until {_when(event, 'until')}" if event.text("until") is not None else ""
    return f"{_attempt(event)} waits{until}{_because(event)}"


def _submitted(event: Event) -> str:
    size = event.number("total_bytes")
    sent = f"All {size:,.0f} bytes are" if size else "Everything is"
    return f"{sent} with TikTok, which now processes the post."


def _succeeded(event: Event) -> str:
    if event.text("outcome") == "sent_to_inbox":
        return f"{_attempt(event)} was delivered to the creator's TikTok inbox."
    if event.text("evidence") == "video_list":
        return (
            f"{_attempt(event)} was found among the creator's videos on TikTok, published at {_when(event, 'published_at')}."
        )
    who = "A webhook of TikTok" if event.text("evidence") == "webhook" else "TikTok"
    return f"{who} says that {_attempt(event).lower()} was published at {_when(event, 'published_at')}."


def _publish_cancelled(event: Event) -> str:
    if event.text("code") == "earlier_attempt_published":
        return f"{_attempt(event)} was stopped: an earlier one is published."
    return f"{_attempt(event)} was cancelled before anything could be published."


def _publish_failed(event: Event) -> str:
    return f"{_attempt(event)} published nothing{_because(event)}"


def _publish_unconfirmed(event: Event) -> str:
    return f"Whether {_attempt(event).lower()} went live cannot be known{_because(event)}"


_SENTENCES: dict[str, Callable[[Event], str]] = {
    "scheduler.post.drafted": lambda _: "Saved as a draft.",
    "scheduler.post.scheduled": _scheduled,
    "scheduler.post.updated": _updated,
    "scheduler.post.held": _held,
    "scheduler.post.cancelled": lambda event: f"Cancelled{_because(event)}",
    "scheduler.post.due": _due,
    "scheduler.post.retry_scheduled": _retry_scheduled,
    "scheduler.post.failed": lambda event: f"Failed{_because(event)}",
    "scheduler.post.published": _published,
    "scheduler.post.unconfirmed": lambda event: f"Whether it went live cannot be known{_because(event)}",
    "publisher.publish.started": _started,
    "publisher.publish.deferred": _publish_deferred,
    "publisher.publish.submitted": _submitted,
    "publisher.publish.succeeded": _succeeded,
    "publisher.publish.failed": _publish_failed,
    "publisher.publish.unconfirmed": _publish_unconfirmed,
    "publisher.publish.cancelled": _publish_cancelled,
    "publisher.publish.identified": lambda event: (
        f"The video is known at TikTok as {event.text('tiktok_video_id') or 'unknown'}."
    ),
}
