"""What a person is shown of a job: the next step by name."""

from publisher.domain.job import CancelState, Checkpoint, Step, Transfer
from publisher.domain.outcomes import Reason

_NEXT = {
    Step.QUEUED: "access_token",
    Step.TOKEN: "access_token",
    Step.FETCHING: "fetch",
    Step.CREATOR_INFO: "init",
    Step.INIT_INTENDED: "init",
    Step.INIT_DONE: "upload",
    Step.UPLOADING: "upload",
    Step.UPLOADED: "status",
    Step.POLLING: "status",
}


WAIT_FOR_ACCOUNT = "wait_for_account"
CANCELLING = Reason(
    "cancel_under_way",
    "TikTok fetches this post by itself and is asked to give that up; its status will tell whether it did.",
    "Nothing to do; look again in a moment.",
)


def next_step(checkpoint: Checkpoint, *, awaits_account: bool) -> str | None:
    """Return the name of what comes next, None after an end."""
    if checkpoint.state.is_end:
        return None
    if awaits_account:
        return WAIT_FOR_ACCOUNT
    if is_cancelling(checkpoint):
        return "cancel"
    return _NEXT[checkpoint.step]


def is_cancelling(checkpoint: Checkpoint) -> bool:
    """Whether TikTok is asked to give up its fetch, and has not refused to."""
    return checkpoint.cancel_wanted and checkpoint.cancel_state is not CancelState.REFUSED


def shows_fetch(checkpoint: Checkpoint) -> bool:
    """Whether the file is on its way from its address."""
    return checkpoint.step is Step.FETCHING and not checkpoint.state.is_end


def shows_upload(checkpoint: Checkpoint) -> bool:
    """Whether there is an upload to show: the file is on its way or there."""
    begun = checkpoint.step in {Step.INIT_DONE, Step.UPLOADING, Step.UPLOADED, Step.POLLING}
    return begun and checkpoint.transfer is Transfer.FILE
