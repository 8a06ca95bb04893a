"""What may cross the card: WireGuard's datagrams and neighbour discovery, by a table of nftables.

ARP is none of this table's business: it carries nothing of a user's. The rules outlive the module where it is killed.
They name the card by its index, which no later card has, so they mean nothing once the card has gone.
"""

import subprocess

from ipop_core.errors import IpopError
from ipop_wireguard.card import Card

NEIGHBOUR_DISCOVERY = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept"


def ruleset(card: Card, port: int) -> str:
    """For `nft -f`, which puts it in force as a whole or not at all.

    What arrives for WireGuard is marked as what leaves it is: where the kernel checks a packet's source by the way
    back (rp_filter), it then asks for the way that WireGuard's answer would take.
    """
    mark = f"{card.mark:#x}"
    arriving = "\n".join(
        f"    {'ip' if own.version == 4 else 'ip6'} daddr {own.ip} udp dport {port} meta mark set {mark} accept"
        for own in card.interfaces
    )
    return f"""{removal(card)}
table inet {_table(card)} {{
  chain arriving {{
    type filter hook prerouting priority raw - 10
    iif {card.index} jump from-card
  }}
  chain from-card {{
    {NEIGHBOUR_DISCOVERY}
{arriving}
    counter drop
  }}
  chain leaving {{
    type filter hook postrouting priority srcnat + 10
    oif {card.index} jump to-card
  }}
  chain to-card {{
    {NEIGHBOUR_DISCOVERY}
    meta mark {mark} udp sport {port} accept
    counter drop
  }}
}}
"""


def removal(card: Card) -> str:
    """Works where there is no such table, too."""
    return f"table inet {_table(card)}\ndelete table inet {_table(card)}"


def apply(rules: str) -> None:
    """Blocking. Raises IpopError with nft's own reason."""
    try:
        done = subprocess.run(["nft", "-f", "-"], input=rules, capture_output=True, text=True, check=False)
    except OSError:
        raise IpopError("modules.wireguard: nft is missing; install Debian's package nftables") from None
    if done.returncode:
        raise IpopError(f"modules.wireguard: nftables refuses the rules: {done.stderr.strip().splitlines()[0]}")


def _table(card: Card) -> str:
    return f"ipop-{card.name}"
