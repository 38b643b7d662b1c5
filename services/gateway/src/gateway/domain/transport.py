"""Whether a request came by HTTPS: as the socket says, or as the trusted proxy in front of it does."""

from collections.abc import Sequence

from gateway.domain.client_address import Network, is_trusted


def came_by_https(scheme: str, peer: str | None, forwarded_proto: Sequence[str], trusted: Sequence[Network]) -> bool:
    """Return whether every hop that is known was HTTPS.

    `forwarded_proto` holds the values of the X-Forwarded-Proto headers; they count only when `peer` is a trusted proxy, and then
    each of them has to be `https`: a client can add one, and never take away what a proxy says.
    """
    hops = [hop.strip().lower() for value in forwarded_proto for hop in value.split(",")]
    if hops and is_trusted(peer, trusted):
        return all(hop == "https" for hop in hops)
    return scheme == "https"
