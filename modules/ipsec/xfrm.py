"""XFRM, the kernel's side of IPsec, over netlink: policies and security associations (linux/xfrm.h).

Each policy of ours carries a tag in its selector's field `user`, which is part of a policy's identity and of nothing
else: so ours never collide with another program's, and the kernel itself knows which are ours.
"""

from __future__ import annotations

import errno
import os
import secrets
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from types import TracebackType
from typing import Any, Final

from pyroute2.netlink import nlmsg

from ipop_core.errors import IpopError
from ipop_modules.ipsec import xfrm_messages as messages
from ipop_modules.ipsec.policies import Direction, Policy

_DIRECTIONS: Final[tuple[Direction, ...]] = ("in", "out", "fwd")
_ACTIONS: Final = {"allow": 0, "esp": 0, "block": 1}
_TRANSPORT: Final = 0
_NO_LIMIT: Final = 2**64 - 1
_ANY_ALGORITHM: Final = 2**32 - 1
_LARGEST_MESSAGE: Final = 1 << 16
_DUMP_BUFFER: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class State:
    """One direction of a security association in the kernel."""

    source: IPv4Address | IPv6Address
    destination: IPv4Address | IPv6Address
    spi: int
    reqid: int
    packets: int


@dataclass(frozen=True, slots=True)
class KnownPolicy:
    """A policy in the kernel: its identity, and what association it wants (0 for any)."""

    direction: Direction
    selector: tuple[tuple[str, Any], ...]
    tag: int
    reqid: int
    spi: int


class NotPermittedError(IpopError):
    """This user may not change policies and associations."""


class Xfrm:
    """One netlink socket in this network namespace. Every method raises IpopError with the kernel's own reason."""

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, messages.NETLINK_XFRM
            )
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _DUMP_BUFFER)
            self._socket.bind((0, 0))
        except OSError as error:
            raise IpopError(f"this kernel has no IPsec (XFRM): {error.strerror}") from None
        self._sequence = 0

    def __enter__(self) -> Xfrm:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def put_policies(self, policies: Iterable[Policy], tag: int) -> None:
        """Make the kernel's policies with this tag exactly these; none is missing in between."""
        wanted = {}
        for policy in policies:
            selector = _selector(policy, tag)
            wanted[(policy.direction, tuple(selector.items()))] = (selector, policy)
        for selector, policy in wanted.values():
            self._ask(_new_policy(selector, policy, tag), messages.UPDPOLICY)
        self.delete_policies(known for known in self.policies(tag) if (known.direction, known.selector) not in wanted)

    def policies(self, tag: int) -> list[KnownPolicy]:
        """What the kernel has with this tag: ours."""
        return [known for known in self._all_policies() if known.tag == tag]

    def negotiated_policies(self, reqid: int) -> list[KnownPolicy]:
        """What a charon made for associations with this reqid."""
        return [known for known in self._all_policies() if known.reqid == reqid and known.tag != reqid]

    def delete_policies(self, policies: Iterable[KnownPolicy]) -> None:
        """Remove these; one that has gone already is no fault."""
        for known in policies:
            self._delete_policy(known)

    def states(self, reqid: int) -> list[State]:
        """The security associations with this reqid, larval ones (SPI 0) among them."""
        answers = self._dump(messages.blank(messages.StateId()), messages.GETSA, messages.NewState)
        return [state for answer in answers if (state := _state(answer)).reqid == reqid]

    def delete_states(self, states: Iterable[State]) -> None:
        """Remove these associations; one that has gone already is no fault."""
        for state in states:
            request = messages.blank(messages.StateId())
            request["daddr"] = _padded(state.destination)
            request["spi"] = state.spi
            request["family"] = _family(state.destination)
            request["proto"] = socket.IPPROTO_ESP
            self._ask(request, messages.DELSA, harmless=(errno.ESRCH,))

    def try_esp(self, host: IPv4Address | IPv6Address) -> None:
        """See whether this kernel has what IPsec takes: install an association with AES-GCM, and remove it."""
        spi = secrets.randbelow(2**31) + 256
        try:
            self._ask(_trial_state(host, spi), messages.NEWSA)
        except NotPermittedError:
            raise
        except IpopError as error:
            kind = "esp4" if host.version == 4 else "esp6"
            raise IpopError(f"this kernel can't encrypt with ESP ({kind}, rfc4106(gcm(aes))): {error}") from None
        self.delete_states([State(host, host, spi, 0, 0)])

    def _all_policies(self) -> list[KnownPolicy]:
        answers = self._dump(messages.blank(messages.PolicyId()), messages.GETPOLICY, messages.NewPolicy)
        # Those of sockets, charon's own among them, have directions of their own (3 and above).
        return [_known(answer) for answer in answers if answer["dir"] < len(_DIRECTIONS)]

    def _delete_policy(self, known: KnownPolicy) -> None:
        request = messages.blank(messages.PolicyId())
        for key, value in known.selector:
            request[key] = value
        request["dir"] = _DIRECTIONS.index(known.direction)
        self._ask(request, messages.DELPOLICY, harmless=(errno.ENOENT,))

    def _ask(self, request: nlmsg, kind: int, harmless: tuple[int, ...] = ()) -> None:
        self._send(request, kind, messages.REQUEST | messages.ACK | messages.CREATE)
        for answer_kind, data in self._receive():
            if answer_kind == messages.ERROR:
                number = -int.from_bytes(data[16:20], sys.byteorder, signed=True)
                if number == errno.EPERM:
                    raise NotPermittedError("IPsec's policies and keys are root's to change")
                if number and number not in harmless:
                    raise IpopError(os.strerror(number))
                return

    def _dump(self, request: nlmsg, kind: int, answer: type[nlmsg]) -> Iterator[nlmsg]:
        self._send(request, kind, messages.REQUEST | messages.DUMP)
        while True:
            for answer_kind, data in self._receive():
                if answer_kind in (messages.ERROR, messages.DONE):
                    return
                message = answer(data)
                message.decode()
                yield message

    def _send(self, request: nlmsg, kind: int, flags: int) -> None:
        self._sequence += 1
        request["header"] = {"type": kind, "flags": flags, "sequence_number": self._sequence, "pid": 0}
        request.encode()
        self._socket.send(bytes(request.data))

    def _receive(self) -> Iterator[tuple[int, bytes]]:
        return messages.split(self._socket.recv(_LARGEST_MESSAGE))


def _selector(policy: Policy, tag: int) -> dict[str, Any]:
    """The fields of struct xfrm_selector. ICMP's type and code stand where other protocols have ports."""
    icmp6 = policy.icmp6_type
    return {
        "sel_daddr": _padded(policy.destination.network_address),
        "sel_saddr": _padded(policy.source.network_address),
        "dport": 0,
        "dport_mask": 0,
        "sport": icmp6 or 0,
        "sport_mask": 0xFFFF if icmp6 else 0,
        "sel_family": _family(policy.destination.network_address),
        "prefixlen_d": policy.destination.prefixlen,
        "prefixlen_s": policy.source.prefixlen,
        "sel_proto": socket.IPPROTO_ICMPV6 if icmp6 else 0,
        "ifindex": policy.card,
        "user": tag,
    }


def _new_policy(selector: Mapping[str, Any], policy: Policy, reqid: int) -> nlmsg:
    message = _unlimited(messages.NewPolicy(), selector)
    message["priority"] = policy.priority
    message["dir"] = _DIRECTIONS.index(policy.direction)
    message["action"] = _ACTIONS[policy.action]
    if policy.action == "esp":
        template = dict.fromkeys(("spi", "optional", "share"), 0) | {
            "daddr": b"",
            "id_pad": b"",
            "proto": socket.IPPROTO_ESP,
            "family": selector["sel_family"],
            "family_pad": b"",
            "saddr": b"",
            "reqid": reqid,
            "mode": _TRANSPORT,
            "pad": b"",
            **dict.fromkeys(("aalgos", "ealgos", "calgos"), _ANY_ALGORITHM),
        }
        message["attrs"] = [("XFRMA_TMPL", template)]
    return message


def _trial_state(host: IPv4Address | IPv6Address, spi: int) -> nlmsg:
    message = _unlimited(messages.NewState(), {"sel_family": _family(host)})
    message["daddr"] = message["saddr"] = _padded(host)
    message["spi"] = spi
    message["proto"] = socket.IPPROTO_ESP
    message["family"] = _family(host)
    key = {"name": b"rfc4106(gcm(aes))", "key_bits": 160, "icv_bits": 128, "key": secrets.token_bytes(20)}
    message["attrs"] = [("XFRMA_ALG_AEAD", key)]
    return message


def _unlimited(message: nlmsg, selector: Mapping[str, Any]) -> nlmsg:
    messages.blank(message)
    for key, value in selector.items():
        message[key] = value
    for limit in ("soft_bytes", "hard_bytes", "soft_packets", "hard_packets"):
        message[limit] = _NO_LIMIT
    return message


def _known(message: nlmsg) -> KnownPolicy:
    keys = (name for name, _ in messages.SELECTOR if name != "sel_pad")
    selector = tuple((key, message[key]) for key in keys)
    template = message.get_attr("XFRMA_TMPL")
    reqid, spi = (template["reqid"], template["spi"]) if template is not None else (0, 0)
    return KnownPolicy(_DIRECTIONS[message["dir"]], selector, message["user"], reqid, spi)


def _state(message: nlmsg) -> State:
    size = 4 if message["family"] == socket.AF_INET else 16
    source, destination = (ip_address(message[key][:size]) for key in ("saddr", "daddr"))
    return State(source, destination, message["spi"], message["reqid"], message["packets"])


def _family(address: IPv4Address | IPv6Address) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _padded(address: IPv4Address | IPv6Address) -> bytes:
    """xfrm_address_t: 16 bytes, an IPv4 address in the first four."""
    return address.packed.ljust(16, b"\0")
