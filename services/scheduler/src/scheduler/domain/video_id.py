"""TikTok's video ids: 64-bit integers, carried as text because JSON numbers lose their last digits."""

import re

_DIGITS = re.compile(r"[1-9][0-9]{0,18}")
_MAX = 2**63 - 1


def is_video_id(text: str) -> bool:
    """Tell whether `text` is a positive 64-bit integer in plain ASCII digits without leading zeros."""
    return _DIGITS.fullmatch(text) is not None and int(text) <= _MAX
