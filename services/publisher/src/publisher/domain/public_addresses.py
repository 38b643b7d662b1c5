"""Which IP addresses lie on the public internet: those that a file may be fetched from."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_NOT_PUBLIC_4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; a cloud's metadata at 100.100.100.200
        "127.0.0.0/8",
        "168.63.129.16/32",  # a cloud's own services, at a public address
        "169.254.0.0/16",  # link-local; clouds' metadata at 169.254.169.254
        "172.16.0.0/12",
        "192.0.0.0/24",  # a cloud's metadata at 192.0.0.192
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_GLOBAL_UNICAST_6 = IPv6Network("2000::/3")
"""All that IPv6 has given out for the internet. Outside of it lie loopback, link-local, private, multicast and NAT64 (64:ff9b::/96)
addresses, and those that hold an IPv4 address (::/96, ::ffff:0:0/96)."""
_NOT_PUBLIC_6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # Teredo and other tunnels, benchmarks
        "2001:db8::/32",
        "2002::/16",  # 6to4: holds an IPv4 address
        "3fff::/20",
    )
)


def is_public(address: str) -> bool:
    """Return whether an IP address in its usual notation is public; what is no address, or has a zone, is not.

    Judged by IANA's registries of special addresses, not by the Python version's; an address that leads to another one (IPv4 in
    IPv6, NAT64, 6to4, Teredo) is never public.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return _is_public_4(parsed) if isinstance(parsed, IPv4Address) else _is_public_6(parsed)


def _is_public_4(address: IPv4Address) -> bool:
    return not any(address in network for network in _NOT_PUBLIC_4)


def _is_public_6(address: IPv6Address) -> bool:
    is_given_out = address.scope_id is None and address in _GLOBAL_UNICAST_6
    return is_given_out and not any(address in network for network in _NOT_PUBLIC_6)
