"""When a node that has met no ring member becomes a ring of one.

Somebody has to be first. A node that others came to, and that went to nobody, is a bootstrap: it founds soon. Nodes
that went to each other leave it to the lowest id. Should several found at once, their rings merge.

Who has met a ring and lost its last link to it before it had a place there knows that there is one: its own would
answer for addresses that have owners. So it asks those whom it knows (remembered.py). It founds none while it has no
link at all, and with others outside that ring only when it has asked for a while: that one may be gone for good.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Final

from ipop_modules.topology.protocol.link import Link

WITHOUT_LINKS: Final = 3.0
AS_BOOTSTRAP: Final = 0.2
AS_LOWEST: Final = 1.0
ANYWAY: Final = 5.0
ASKING: Final = 20.0
SILENT: Final = 1.0
"""So long a neighbour may take to say whether it is in the ring."""


def founding_at(me: bytes, links: Mapping[bytes, Link], since: float, met_at: float | None) -> float:
    """When to found, unless something happens before; `inf` when there is a member to join.

    `since`: when this node got the first of its links or, having none, lost the last one or started. `met_at`: when it
    last saw that a neighbour was in the ring, where it ever did.
    """
    if not links:
        return since + WITHOUT_LINKS if met_at is None else inf
    if any(link.member for link in links.values()):
        return inf
    heard_out = max((link.since + SILENT for link in links.values() if link.member is None), default=since)
    if not any(link.initiator for link in links.values()):
        patience = AS_BOOTSTRAP
    elif me < min(links):
        patience = AS_LOWEST
    else:
        patience = ANYWAY
    return max(since + patience, heard_out, -inf if met_at is None else met_at + ASKING)
