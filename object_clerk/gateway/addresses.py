"""Addresses of clients: which of them are one client, and which are near."""

from __future__ import annotations

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: A host with IPv6 may choose from as many addresses as this leaves bits.
_IPV6_NETWORK_BITS = 64


def _parsed(host: str | None) -> Address | None:
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return None  # a Unix socket has none, and a proxy may send anything
    # A socket for both versions shows IPv4 clients so. They would otherwise be all in one network,
    # and a private one.
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


def network_of(host: str | None) -> str:
    """What counts as one client: an IPv4 address, or a /64 of IPv6.

    >>> network_of("2001:db8::1") == network_of("2001:db8::ffff:1")
    True
    >>> network_of("::ffff:192.0.2.7")
    '192.0.2.7'
    """
    address = _parsed(host)
    if isinstance(address, ipaddress.IPv6Address):
        # As a number: an address of a link has the name of an interface behind it.
        kept = int(address) >> _IPV6_NETWORK_BITS << _IPV6_NETWORK_BITS
        return f"{ipaddress.IPv6Address(kept)}/{_IPV6_NETWORK_BITS}"
    return str(address) if address is not None else host or ""


def is_near(host: str | None) -> bool:
    """Whether an address is of this machine or of a private network."""
    address = _parsed(host)
    return address is not None and (address.is_loopback or address.is_private)
