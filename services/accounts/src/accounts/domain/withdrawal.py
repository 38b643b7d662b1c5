"""Whether a withdrawal that TikTok tells of concerns the grant we hold, or one before it."""

from datetime import datetime, timedelta

CLOCKS_DIFFER = timedelta(seconds=60)
"""How far TikTok's clock and ours may be apart."""
_ONE_SECOND = timedelta(seconds=1)


def is_of_an_older_grant(removed_at: datetime, obtained_at: datetime) -> bool:
    """Compare the moment of removal (whole seconds, TikTok's clock) with that when our token pair was asked for.

    A pair that TikTok gave after the removal proves a newer grant, whether it came from connecting again or from a refresh.
    The other way round the times prove nothing: a grant that works was not withdrawn, whatever a clock says.
    """
    return removed_at + _ONE_SECOND + CLOCKS_DIFFER <= obtained_at
