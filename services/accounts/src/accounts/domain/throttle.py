"""Slowing down of guesses: some failures are free, then each one doubles the wait; one failure fades each minute."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network

WAIT_MAX_S = 60.0
FADE_EVERY = timedelta(minutes=1)
"""As long as the longest wait: whoever goes on guessing gains nothing by the fading, and many people at one address are not
blocked by what they mistype over a day."""
FORGET_AFTER = timedelta(minutes=15)
"""Without any attempt, everything is forgotten."""


@dataclass(frozen=True, slots=True)
class ThrottleRule:
    """`free` failures cost nothing; the n-th after them makes the next attempt wait 2^(n-1) seconds, at most a minute."""

    free: int

    def wait_after(self, failures: int) -> timedelta:
        """Return the wait that `failures` failures in a row cause."""
        excess = failures - self.free
        if excess <= 0:
            return timedelta(0)
        return timedelta(seconds=min(2.0 ** min(excess - 1, 16), WAIT_MAX_S))


@dataclass(frozen=True, slots=True)
class Failures:
    """How many failures are remembered, and the moment up to which their fading is counted."""

    count: int
    faded_to: datetime

    def at(self, now: datetime) -> "Failures":
        """Return what is left at `now`. What was counted of a minute is kept, so looking often does not slow the fading."""
        elapsed = now - self.faded_to
        faded = max(elapsed // FADE_EVERY, 0)
        if elapsed > FORGET_AFTER or faded >= self.count:
            return Failures(0, now)
        return Failures(self.count - faded, self.faded_to + faded * FADE_EVERY)


def counted_address(client_ip: str) -> str:
    """Return what is counted for a client's address: whoever has an IPv6 address has its whole /64."""
    try:
        address = ip_address(client_ip)
    except ValueError:
        return client_ip
    if not isinstance(address, IPv6Address):
        return str(address)
    return str(address.ipv4_mapped or ip_network((address, 64), strict=False))
