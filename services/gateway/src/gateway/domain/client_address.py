"""Whose address counts: the socket's, or the forwarded one when the peer is a trusted proxy."""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_networks(text: str) -> tuple[Network, ...]:
    """Return the networks of a comma separated list of addresses and CIDR blocks; raises ValueError for anything else."""
    return tuple(ipaddress.ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip())


@lru_cache(maxsize=4096)
def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.strip().strip("[]"))
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_trusted(peer: str | None, trusted: Sequence[Network]) -> bool:
    """Return whether what a peer says about whom it forwards is believed."""
    address = _address(peer or "")
    return address is not None and any(address in network for network in trusted)


def client_address(peer: str | None, forwarded_for: Sequence[str], trusted: Sequence[Network]) -> str:
    """Return the client's address, `unknown` when the server knows no peer.

    `forwarded_for` holds the values of the X-Forwarded-For headers in their order. They are read from the right while each
    hop is trusted: what a client wrote itself never counts, and a malformed entry ends the walk.
    """
    address = _address(peer or "")
    if address is None:
        return peer or "unknown"
    hops = [hop for value in forwarded_for for hop in value.split(",")]
    while hops and any(address in network for network in trusted):
        hop = _address(hops.pop())
        if hop is None:
            break
        address = hop
    return str(address)


def rate_limit_address(address: str) -> str:
    """Return what is counted for an address: an IPv6 client owns a whole /64, so all of it counts as one."""
    parsed = _address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address
