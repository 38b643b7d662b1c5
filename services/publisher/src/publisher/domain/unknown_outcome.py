"""What a person is told of an outcome that is not known: where to look, and how long to wait before another attempt."""

from dataclasses import replace

from publisher.domain.outcomes import Reason, Unconfirm

LOOK = "Look into the TikTok profile; if the post is there, confirm it."
WAIT = (
    "What TikTok still fetches or works on, and what only its creator may see, is not on the profile: "
    "wait at least an hour before you say that it was not published and retry it."
)
"""As long as the publisher itself lets nobody vouch for an init without an answer (VOUCH_AFTER_SECONDS)."""
LOOK_AND_WAIT = f"{LOOK} {WAIT}"


def unknown(reason: Reason) -> Unconfirm:
    """Return the end of an attempt of which nothing more can be known for this reason; its hint says what to do about that, too."""
    return Unconfirm(replace(reason, hint=LOOK_AND_WAIT if reason.hint is None else f"{reason.hint} {LOOK_AND_WAIT}"))
