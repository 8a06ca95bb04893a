"""The kinds of NAT that home routers are, as nftables rules.

The words are those of RFC 4787 (mapping: section 4.1, filtering: section 5), the names those of RFC 3489.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class NatKind(Enum):
    OPEN = "open"
    """No NAT: the host itself is on the public segment."""
    FULL_CONE = "full-cone"
    """Endpoint-independent mapping, endpoint-independent filtering."""
    ADDRESS_RESTRICTED = "address-restricted"
    """Endpoint-independent mapping, address-dependent filtering."""
    PORT_RESTRICTED = "port-restricted"
    """Endpoint-independent mapping, address and port-dependent filtering."""
    SYMMETRIC = "symmetric"
    """Address and port-dependent mapping, address and port-dependent filtering; ports at random."""
    SEQUENTIAL = "symmetric-sequential"
    """As SYMMETRIC, with the next port for the next flow."""


FIVE_KINDS: Final = (
    NatKind.OPEN,
    NatKind.FULL_CONE,
    NatKind.ADDRESS_RESTRICTED,
    NatKind.PORT_RESTRICTED,
    NatKind.SYMMETRIC,
)
"""What is measured each with each."""


# A packet that was refused must not become a connection of conntrack's: Linux would then map the inner host's own
# packets to that peer to another port. A packet dropped before its confirmation leaves no such trace.
_DROP_UNSOLICITED: Final = """
  chain input { type filter hook input priority filter; iifname "wan" ct state new drop; }
  chain forward { type filter hook forward priority filter; iifname "wan" ct state new ct status ! dnat drop; }"""

FIRST_SEQUENTIAL: Final = 30_000

_RULES: Final = {
    NatKind.OPEN: "",
    NatKind.FULL_CONE: """
  chain out { type nat hook postrouting priority srcnat; oifname "wan" masquerade; }
  chain in { type nat hook prerouting priority dstnat; iifname "wan" udp dport 1024-65535 dnat to @host@; }""",
    NatKind.ADDRESS_RESTRICTED: """
  set contacted { type ipv4_addr; flags dynamic, timeout; timeout 5m; }
  chain remember {
    type filter hook forward priority mangle
    oifname "wan" meta l4proto udp update @contacted { ip daddr }
  }
  chain out { type nat hook postrouting priority srcnat; oifname "wan" masquerade; }
  chain in {
    type nat hook prerouting priority dstnat
    iifname "wan" ip saddr @contacted udp dport 1024-65535 dnat to @host@
  }""",
    NatKind.PORT_RESTRICTED: """
  chain out { type nat hook postrouting priority srcnat; oifname "wan" masquerade; }""",
    NatKind.SYMMETRIC: """
  chain out { type nat hook postrouting priority srcnat; oifname "wan" masquerade fully-random; }""",
    NatKind.SEQUENTIAL: """
  chain out {
    type nat hook postrouting priority srcnat
    oifname "wan" meta l4proto udp masquerade to :numgen inc mod 4096 map { @ports@ }
    oifname "wan" masquerade
  }""",
}

_HAIRPIN: Final = """
  chain turn {
    type nat hook prerouting priority dstnat
    iifname "lan" ip daddr @outer@ udp dport 1024-65535 meta mark set 1 dnat to @host@
  }
  chain turned {
    type nat hook postrouting priority srcnat
    meta mark 1 snat to @outer@
  }"""


def ruleset(kind: NatKind, inner_host: str, *, drop_unsolicited: bool = True, hairpin: str | None = None) -> str:
    """The rules, for `nft -f`, of a router with the cards `wan` and `lan`.

    `inner_host` is the IPv4 address that cone NATs hand new inbound UDP to: one host for each router.
    `drop_unsolicited=False` makes the careless router on which a peer's early probe spoils the mapping of the answer.
    `hairpin` is the outer address of a router that sends back in what an inner host sends there, with the sender's
    outer address (RFC 4787, section 6). Only a full cone can: Linux turns round what a fixed rule names.
    """
    rules = _RULES[kind] + (_DROP_UNSOLICITED if drop_unsolicited else "") + (_HAIRPIN if hairpin else "")
    # A number as it is would be taken for one in network byte order.
    ports = ", ".join(f"{number} : {FIRST_SEQUENTIAL + number}" for number in range(4096))
    rules = rules.replace("@ports@", ports).replace("@host@", inner_host).replace("@outer@", hairpin or "")
    return f"table ip home {{{rules}\n}}\n"
