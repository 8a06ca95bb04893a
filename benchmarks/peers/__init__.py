"""The wire, this project, and the peers that it is measured beside: one file each."""

from __future__ import annotations

from typing import Final

from .easytier import EasyTier
from .ipop import Ipop
from .n2n import N2n
from .nebula import Nebula
from .openvpn import OpenVpn
from .peer import Peer, Tunnel
from .raw import Raw
from .tinc import Tinc
from .wireguard import WireGuard
from .yggdrasil import Yggdrasil

PEERS: Final[tuple[Peer, ...]] = (
    Raw(),
    Ipop(),
    WireGuard(),
    Nebula(),
    Tinc(),
    N2n(),
    OpenVpn(),
    Yggdrasil(),
    EasyTier(),
)

__all__ = ["PEERS", "EasyTier", "Ipop", "Nebula", "Peer", "Tunnel"]
