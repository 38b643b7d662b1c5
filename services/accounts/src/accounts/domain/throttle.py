"""Slowing down of guesses: some failures are free, then each one doubles the wait."""

from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv6Address, ip_address, ip_network

WAIT_MAX_S = 60.0
FORGET_AFTER = timedelta(minutes=15)


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


def counted_address(client_ip: str) -> str:
    """Return what is counted for a client's address: whoever has an IPv6 address has its whole /64."""
    try:
        address = ip_address(client_ip)
    except ValueError:
        return client_ip
    if not isinstance(address, IPv6Address):
        return str(address)
    return str(address.ipv4_mapped or ip_network((address, 64), strict=False))
