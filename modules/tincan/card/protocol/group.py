"""Group frames that concern routers alone, of which this network has none."""

from __future__ import annotations

from typing import Final

from . import ethernet
from .packet import ICMPV6

IGMP: Final = 2
_MLD: Final = frozenset((130, 131, 132, 143))
"""Multicast listener queries, reports and the end of listening (RFC 2710, RFC 3810)."""
_ROUTER_ALERT_SIZE: Final = 8
"""Of the hop-by-hop header that comes before them."""


def is_for_routers(frame: memoryview) -> bool:
    """Whether an Ethernet frame is IGMP (RFC 3376) or MLD."""
    kind = int.from_bytes(frame[12:14], "big")
    if kind == ethernet.IPV4:
        return len(frame) > 23 and frame[23] == IGMP
    if kind != ethernet.IPV6 or len(frame) <= ethernet.HEADER_SIZE + 40 + _ROUTER_ALERT_SIZE:
        return False
    at, following = ethernet.HEADER_SIZE + 40, frame[20]
    if following == 0:
        following, at = frame[at], at + _ROUTER_ALERT_SIZE
    return following == ICMPV6 and frame[at] in _MLD
