"""What charon is told: one connection for each peer's address, in VICI's words.

A peer's identity in IKE must be the very address that it speaks from, and its certificate must carry that address. A
connection for a whole subnet could not say so: any member could answer for any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface
from typing import Any, Final

from ipop_core.identity import Address
from ipop_modules.ipsec.policies import NEGOTIATED

IKE_PROPOSALS: Final = ["aes128gcm16-prfsha256-ecp256"]
ESP_PROPOSALS: Final = ["aes128gcm16-ecp256", "aes128gcm16"]
"""AES-GCM (RFC 4106). The second is for the first association of a connection, whose keys come from IKE's own."""
PEER_KEYS: Final = "ecdsa-256"
"""Of this kind and strength, those of authorities included. Charon reads a kind alone as no condition at all."""
CHILD: Final = "esp"
"""Name of the one child in every connection."""
IKE_REKEY: Final = 4 * 3600
LEAST_GRACE: Final = 60
"""Seconds that new keys may take to come before the old ones end."""
DEAD_PEER_AFTER: Final = 10
"""Seconds of silence after which a peer is asked whether it lives (RFC 7296, section 2.4)."""
MOST_PREPARED: Final = 1024
"""Subnets of up to so many addresses get all their connections at once; in larger ones they come as peers do."""

Interface = IPv4Interface | IPv6Interface


def connection_name(prefix: str, peer: Address) -> str:
    return f"{prefix}-{peer}"


def peer_of(prefix: str, connection: str) -> str | None:
    """The peer's address in a connection's name; None for somebody else's connection."""
    front, _, address = connection.rpartition("-")
    return address if front == prefix else None


@dataclass(frozen=True)
class Terms:
    """What all connections of one card have in common."""

    tag: int
    """The reqid of the card's policies."""
    rekey: int
    """Seconds."""
    certificate: bytes | None = None
    """This node's, DER. A charon that knows no other finds it by its address, and is told twenty times faster."""
    root: bytes | None = None
    """Where every chain must end, DER; needed where charon knows others'."""


def connection(terms: Terms, own: Address, peer: Address) -> dict[str, Any]:
    return {
        "version": 2,
        "local_addrs": [str(own)],
        "remote_addrs": [str(peer)],
        "proposals": IKE_PROPOSALS,
        "mobike": "no",
        "fragmentation": "yes",
        "unique": "replace",
        "dpd_delay": DEAD_PEER_AFTER,
        "rekey_time": IKE_REKEY,
        "send_certreq": "yes",
        "send_cert": "always",
        "local": {"auth": "pubkey", "id": str(own)} | _certificates("certs", terms.certificate),
        "remote": {"auth": PEER_KEYS, "id": str(peer)} | _certificates("cacerts", terms.root),
        "children": {
            CHILD: {
                "mode": "transport",
                "local_ts": [str(own)],
                "remote_ts": [str(peer)],
                "esp_proposals": ESP_PROPOSALS,
                "rekey_time": terms.rekey,
                "life_time": terms.rekey + max(terms.rekey // 10, LEAST_GRACE),
                "rand_time": terms.rekey // 10,
                "priority": NEGOTIATED,
                "reqid": terms.tag,
                "start_action": "none",
                "close_action": "none",
                "dpd_action": "clear",
            }
        },
    }


def _certificates(key: str, certificate: bytes | None) -> dict[str, list[bytes]]:
    return {} if certificate is None else {key: [certificate]}


def prepared_peers(interface: Interface) -> Iterator[Address]:
    """The peers for whom connections are made before they are heard of."""
    if interface.network.num_addresses <= MOST_PREPARED:
        yield from (host for host in interface.network.hosts() if host != interface.ip)
