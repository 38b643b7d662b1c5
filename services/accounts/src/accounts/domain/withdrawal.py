"""Whether a withdrawal that TikTok tells of concerns the grant we hold, or one before it."""

from datetime import datetime, timedelta
from enum import StrEnum

CLOCKS_DIFFER = timedelta(seconds=60)
"""How far TikTok's clock and ours may be apart; a grant that was given and withdrawn closer together has to be asked about."""
_ONE_SECOND = timedelta(seconds=1)


class Withdrawal(StrEnum):
    """What the times alone say."""

    OF_THIS_GRANT = "of_this_grant"
    OF_AN_OLDER_ONE = "of_an_older_one"
    UNCLEAR = "unclear"


def judge(removed_at: datetime, obtained_at: datetime) -> Withdrawal:
    """Compare the moment of removal (whole seconds, TikTok's clock) with that when our token pair was asked for.

    A pair that TikTok gave after the removal proves a newer grant, whether it came from connecting again or from a refresh.
    """
    if removed_at + _ONE_SECOND + CLOCKS_DIFFER <= obtained_at:
        return Withdrawal.OF_AN_OLDER_ONE
    if removed_at >= obtained_at + CLOCKS_DIFFER:
        return Withdrawal.OF_THIS_GRANT
    return Withdrawal.UNCLEAR
