"""Policies and keys of one card that stand in the kernel, whoever put them there and whether that still runs or not.

The module leaves its policies when it stops: the card stays closed over a crash, a restart and a kill alike. So a node
that is configured without IPsec afterwards finds its traffic held; these functions tell of that, and end it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from ipop_core.contract import Finding
from ipop_core.errors import IpopError
from ipop_modules.ipsec.xfrm import Xfrm


def tag_of(card: str) -> int:
    """What names this card's policies and states in the kernel."""
    return zlib.crc32(card.encode()) & 0x3FFFFFFF | 0x40000000


def remove_all(card: str) -> int:
    """Remove the card's policies, charon's own for it and its associations; how many policies. Raises IpopError."""
    tag = tag_of(card)
    with Xfrm() as xfrm:
        policies = [*xfrm.policies(tag), *xfrm.negotiated_policies(tag)]
        xfrm.delete_policies(policies)
        xfrm.delete_states(xfrm.states(tag))
    return len(policies)


def examine_leftovers(card: str) -> Sequence[Finding]:
    """For a node without this module. Nothing is found by a user who may not look (CAP_NET_ADMIN)."""
    try:
        with Xfrm() as xfrm:
            count = len(xfrm.policies(tag_of(card)))
    except IpopError:
        return []
    if not count:
        return []
    found = f"{count} kernel policies of an earlier run with IPsec hold the traffic of {card}"
    return [Finding(check="IPsec", verdict="bad", found=found, mend=removing(card))]


def removing(card: str) -> str:
    """The command that does it."""
    return f"ipop ipsec off --card {card}"
