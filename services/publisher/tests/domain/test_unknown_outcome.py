"""Whoever has to judge an outcome that is not known is told how long to wait before another attempt."""

from uuid import uuid4

import pytest

from publisher.domain.claims import CONTRADICTED
from publisher.domain.following import STATUS_NEVER_ENDED
from publisher.domain.matching import Candidate, Finding
from publisher.domain.outcomes import Reason, Unconfirm
from publisher.domain.takeover import INIT_UNKNOWN, draft_unknown
from publisher.domain.unknown_outcome import LOOK_AND_WAIT, unknown
from publisher.domain.watching import possible_reason

VIDEO = Candidate(str(uuid4()), None, (), None)


@pytest.mark.parametrize(
    "reason",
    [
        INIT_UNKNOWN.reason,
        STATUS_NEVER_ENDED,
        CONTRADICTED,
        draft_unknown(Unconfirm(STATUS_NEVER_ENDED)).reason,
        unknown(Reason("code", "message")).reason,
        unknown(Reason("code", "message", "Connect the account again.")).reason,
        possible_reason(Finding(possible=(VIDEO,))),
    ],
)
def test_every_reason_says_how_long_to_wait(reason: Reason | None) -> None:
    assert reason is not None
    assert "hour" in (reason.hint or "")
    assert "retry" in (reason.hint or "")


def test_what_else_is_to_be_done_comes_first() -> None:
    told = unknown(Reason("code", "message", "Connect the account again.", "log")).reason
    assert told == Reason("code", "message", f"Connect the account again. {LOOK_AND_WAIT}", "log")
