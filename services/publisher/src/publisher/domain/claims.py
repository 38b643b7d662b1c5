"""What TikTok's webhooks claim, and how far that counts.

They are a reason to look at once, and the last word only when TikTok's status cannot be had.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from common.contracts.publisher import WEBHOOK_DENIES_FAILURE
from publisher.domain.job import State
from publisher.domain.outcomes import Defer, Fail, PublishOutcome, Reason, Succeed, Unconfirm
from publisher.domain.unknown_outcome import LOOK_AND_WAIT
from tiktok.publish_webhooks import Claim

EVIDENCE = frozenset({Claim.COMPLETE, Claim.PUBLIC, Claim.DELIVERED})
"""Claims that something came of a publication."""
POSTED = frozenset({Claim.COMPLETE, Claim.PUBLIC})

CONTRADICTED = Reason(
    "status_contradicts_webhook",
    "TikTok's webhook told how this post ended, but TikTok's own status never said so.",
    LOOK_AND_WAIT,
)

_LOOK_FIRST = (
    "Look into the TikTok profile, and into the app's inbox if it was to be a draft. If the post is on the profile, confirm it. "
    "If it is nowhere, retry it with confirm_not_published."
)
EARLIER_DENIED = Fail(
    Reason(
        WEBHOOK_DENIES_FAILURE,
        "TikTok's status says that an earlier attempt failed, but its webhook said that it is there. Nothing more was sent.",
        _LOOK_FIRST,
    ),
    retryable=False,
)
"""The end of an attempt that would repeat such a failure without a person's word."""


@dataclass(frozen=True, slots=True)
class Claims:
    """All that was claimed of one publication, in whatever order it came; `heard_at` by the database's clock.

    `is_live`: posted, or seen in public. `failure` is what the claimed reason means by the table of fail reasons.
    """

    heard_at: datetime
    is_live: bool = False
    is_delivered: bool = False
    failure: Fail | None = None
    video_ids: tuple[str, ...] = ()

    @property
    def end(self) -> Succeed | Fail | None:
        """The end they tell: None when they contradict each other, or tell none. A failure is left to a person to repeat."""
        is_evidence = self.is_live or self.is_delivered
        if self.failure is not None:
            return None if is_evidence else replace(self.failure, retryable=False)
        if self.is_live:
            return Succeed("published", self.video_ids, evidence="webhook")
        return Succeed("sent_to_inbox", evidence="webhook") if self.is_delivered else None


def asks_for_look(claim: Claim, state: State, outcome: PublishOutcome | None, *, is_identified: bool) -> bool:
    """Whether a claim can tell something new about an attempt that stands there."""
    match state:
        case State.QUEUED:
            return False
        case State.RUNNING | State.UNCONFIRMED:
            return True
        case State.SUCCEEDED:
            return claim in POSTED and (outcome == "sent_to_inbox" or not is_identified)
        case _:
            return claim in EVIDENCE


def without_status(
    outcome: Defer | Unconfirm | Fail, claims: Claims | None, now: datetime, *, patience: timedelta
) -> Defer | Unconfirm | Fail | Succeed:
    """Return what follows when TikTok does not tell its status: what its webhooks told counts after `patience`, or at the end."""
    end = None if claims is None else claims.end
    if claims is None or end is None or (isinstance(outcome, Fail) and isinstance(end, Fail)):
        return outcome
    if isinstance(outcome, Defer) and now - claims.heard_at < patience:
        return outcome
    return end


def doubted(outcome: Fail, claims: Claims | None) -> Fail:
    """Return a failure that only a person's word repeats, and that says so, when a webhook said the opposite.

    TikTok's status still counts: it is no success.
    """
    is_contradicted = claims is not None and (claims.is_live or claims.is_delivered)
    if not is_contradicted or outcome.reason.code == WEBHOOK_DENIES_FAILURE:
        return outcome
    message = f"{outcome.reason.message} But a webhook of TikTok's said that the post is there."
    return Fail(Reason(WEBHOOK_DENIES_FAILURE, message, _LOOK_FIRST, outcome.reason.log_id), retryable=False)


def with_ids(end: Succeed, claims: Claims | None) -> Succeed:
    """Return the success with the video ids that a webhook told, where the status has none."""
    if end.outcome == "published" and not end.post_ids and claims is not None:
        return replace(end, post_ids=claims.video_ids)
    return end
