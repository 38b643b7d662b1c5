"""What the fields of events mean, where their names alone do not say it."""

from __future__ import annotations

ENVELOPE = {
    "specversion": "of CloudEvents",
    "id": "UUIDv7; the same when the event is told again (UUIDv5 of the signed body for webhooks)",
    "type": "`cuepost.` and the routing key",
    "source": "`/services/<service>`",
    "subject": "what it is about, see each event",
    "time": "when it happened, by the service's clock",
    "datacontenttype": "of `data`",
    "data": "see each event",
    "userid": "the user whom it concerns",
    "actor": "`user:<id>`, `api_key:<id>`, `service:<name>`, `operator:<name>` or `webhook:tiktok`",
    "clientip": "address of the client behind it",
    "useragent": "of the client behind it",
    "correlationid": "shared by everything that one request caused",
    "causationid": "id of the event or command that caused it",
    "sequence": "ten digits, counts per (`source`, `subject`)",
    "traceparent": "W3C Trace Context",
}

_MEANINGS = {
    "account_id": "the TikTok account, by Cuepost's id",
    "action": "what the operator did",
    "again": "only told again, as the answer to a question: nothing new happened",
    "attempt": "counts the tries of this post, from 1; 0 before the first",
    "by_owner": "its owner said so, not the machine or TikTok",
    "changes": "old and new value by field",
    "code": "for programs; of TikTok where it begins with `tiktok_`",
    "confirmed_not_published": "its owner vouched that the attempt before is not live",
    "content": "what TikTok said",
    "content.title": "caption, hashtags and mentions as they are sent",
    "create_time": "TikTok's, in Unix seconds",
    "details": "on what, depending on the action",
    "dismissed_attempts": "attempts up to this one are, by a person's word, not published",
    "due_at": "when it was to leave",
    "event": "TikTok's name of the webhook",
    "filename": "as it was uploaded",
    "held": "false: it goes on",
    "hint": "what a person can do",
    "job_id": "the publisher's job of this attempt",
    "lateness_ms": "started_at minus due_at",
    "log_id": "TikTok's, for their support",
    "media.storage_key": "where the file lies in object storage",
    "message": "for people",
    "next_attempt_at": "when it is tried again",
    "outcome": "live, or delivered to the creator's inbox",
    "post_id": "the post",
    "prefix": "the beginning of the key, to recognise it by",
    "problems": "every rule that the file broke",
    "publish_before": "nothing starts after it",
    "publish_id": "TikTok's id of the attempt",
    "reason": "why, as a code",
    "reconnected": "it was connected before",
    "replica": "the process that did it",
    "retry_after": "seconds, at least",
    "retryable": "whether the scheduler may try again",
    "scheduled_time": "as its owner wants it",
    "status": "after the event",
    "tiktok_user_id": "TikTok's open_id of the creator",
    "tiktok_video_id": "the video at TikTok, once it is known",
    "tokens_expire_at": "until when its tokens have to be refused",
    "total_bytes": "how much was sent; null for a pull",
    "until": "forecast; null: it waits for a person",
    "user_id": "the user",
    "user_openid": "TikTok's open_id of the creator",
}


def meaning(path: str) -> str:
    """Return what a field means, by its path or its last part; empty where its name says it."""
    return _MEANINGS.get(path) or _MEANINGS.get(path.rpartition(".")[2], "")
