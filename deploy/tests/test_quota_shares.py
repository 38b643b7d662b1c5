"""Services that call an endpoint of TikTok's with the same token keep together within what TikTok allows for it."""

from datetime import timedelta

from accounts.call_pace import CREATOR_INFO_BURST, CREATOR_INFO_INTERVAL
from publisher.domain.tiktok_limits import CREATOR_INFO

TIKTOK_ALLOWS = 20
MINUTE = timedelta(minutes=1)


def test_creator_infos_of_accounts_and_publisher_are_what_tiktok_allows() -> None:
    of_accounts = CREATOR_INFO_BURST + MINUTE // CREATOR_INFO_INTERVAL
    assert CREATOR_INFO.window >= MINUTE.total_seconds()
    assert CREATOR_INFO.allowed + of_accounts == TIKTOK_ALLOWS
