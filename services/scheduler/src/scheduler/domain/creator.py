"""What a creator may post now, as TikTok told it."""

from dataclasses import dataclass

from scheduler.domain.finding import Finding


@dataclass(frozen=True, slots=True)
class Creator:
    """Privacy levels to choose from and the longest video in seconds (None: not told).

    `refusal` says why TikTok lets the creator post nothing at the moment (blocked, daily cap reached); then `levels` is None.
    """

    levels: tuple[str, ...] | None = None
    max_seconds: int | None = None
    refusal: Finding | None = None
