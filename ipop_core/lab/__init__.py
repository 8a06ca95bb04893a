"""Networks of Linux network namespaces for the demo, the tests and the benchmarks. It knows nothing of IPOP."""

from ipop_core.lab.blocking import udp_blocked
from ipop_core.lab.capture import Capture
from ipop_core.lab.errors import LabError, LabTimeoutError
from ipop_core.lab.home import Home, Router
from ipop_core.lab.host import Host
from ipop_core.lab.igd import Igd
from ipop_core.lab.lab import Laboratory
from ipop_core.lab.losing import losing
from ipop_core.lab.namespace import Namespace
from ipop_core.lab.nat import FIVE_KINDS, NatKind
from ipop_core.lab.offloads import without_offloads
from ipop_core.lab.packet import Packet
from ipop_core.lab.rights import Right, Rights, capabilities
from ipop_core.lab.segment import Attachment, Segment
from ipop_core.lab.user_namespace import enter_user_namespace

__all__ = [
    "FIVE_KINDS",
    "Attachment",
    "Capture",
    "Home",
    "Host",
    "Igd",
    "LabError",
    "LabTimeoutError",
    "Laboratory",
    "Namespace",
    "NatKind",
    "Packet",
    "Right",
    "Rights",
    "Router",
    "Segment",
    "capabilities",
    "enter_user_namespace",
    "losing",
    "udp_blocked",
    "without_offloads",
]
