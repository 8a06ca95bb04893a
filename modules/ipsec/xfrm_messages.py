"""The layout of XFRM's netlink messages (linux/xfrm.h) for pyroute2's netlink classes, which have none of their own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final

from pyroute2.netlink import nla, nlmsg

NETLINK_XFRM: Final = 6
ACQUIRE_GROUP: Final = 1
"""Bit of XFRMNLGRP_ACQUIRE in a socket address."""

NEWSA, DELSA, GETSA = 0x10, 0x11, 0x12
NEWPOLICY, DELPOLICY, GETPOLICY, ACQUIRE, UPDPOLICY = 0x13, 0x14, 0x15, 0x17, 0x19
ERROR, DONE = 2, 3
REQUEST, ACK, DUMP, CREATE = 0x001, 0x004, 0x300, 0x400

SELECTOR: Final = (
    ("sel_daddr", "16s"),
    ("sel_saddr", "16s"),
    ("dport", ">H"),
    ("dport_mask", ">H"),
    ("sport", ">H"),
    ("sport_mask", ">H"),
    ("sel_family", "H"),
    ("prefixlen_d", "B"),
    ("prefixlen_s", "B"),
    ("sel_proto", "B"),
    ("sel_pad", "3s"),
    ("ifindex", "i"),
    ("user", "I"),
)
_LIMITS: Final = (
    ("soft_bytes", "Q"),
    ("hard_bytes", "Q"),
    ("soft_packets", "Q"),
    ("hard_packets", "Q"),
    ("soft_add_expires", "Q"),
    ("hard_add_expires", "Q"),
    ("soft_use_expires", "Q"),
    ("hard_use_expires", "Q"),
)
_USED: Final = (("bytes", "Q"), ("packets", "Q"), ("add_time", "Q"), ("use_time", "Q"))
_ID: Final = (("daddr", "16s"), ("spi", ">I"), ("proto", "B"), ("id_pad", "3s"))
_POLICY: Final = (
    *SELECTOR,
    *_LIMITS,
    *_USED,
    ("priority", "I"),
    ("index", "I"),
    ("dir", "B"),
    ("action", "B"),
    ("flags", "B"),
    ("share", "B"),
    ("policy_pad", "4s"),
)


class Template(nla):  # type: ignore[misc]  # pyroute2 has no types
    """struct xfrm_user_tmpl: how a packet must be protected."""

    fields = (
        *_ID,
        ("family", "H"),
        ("family_pad", "2s"),
        ("saddr", "16s"),
        ("reqid", "I"),
        ("mode", "B"),
        ("share", "B"),
        ("optional", "B"),
        ("pad", "1s"),
        ("aalgos", "I"),
        ("ealgos", "I"),
        ("calgos", "I"),
    )


class Aead(nla):  # type: ignore[misc]  # pyroute2 has no types
    """struct xfrm_algo_aead; lengths in bits."""

    fields = (("name", "64s"), ("key_bits", "I"), ("icv_bits", "I"), ("key", "20s"))


class NewPolicy(nlmsg):  # type: ignore[misc]  # pyroute2 has no types
    """struct xfrm_userpolicy_info."""

    fields = _POLICY
    nla_map = ((5, "XFRMA_TMPL", "template"),)
    template = Template


class PolicyId(nlmsg):  # type: ignore[misc]  # pyroute2 has no types
    """struct xfrm_userpolicy_id."""

    fields = (*SELECTOR, ("index", "I"), ("dir", "B"), ("policy_pad", "3s"))


class NewState(nlmsg):  # type: ignore[misc]  # pyroute2 has no types
    """struct xfrm_usersa_info."""

    fields = (
        *SELECTOR,
        *_ID,
        ("saddr", "16s"),
        *_LIMITS,
        *_USED,
        ("replay_window_errors", "I"),
        ("replays", "I"),
        ("integrity_failures", "I"),
        ("seq", "I"),
        ("reqid", "I"),
        ("family", "H"),
        ("mode", "B"),
        ("replay_window", "B"),
        ("flags", "B"),
        ("state_pad", "7s"),
    )
    nla_map = ((18, "XFRMA_ALG_AEAD", "aead"),)
    aead = Aead


class StateId(nlmsg):  # type: ignore[misc]  # pyroute2 has no types
    """struct xfrm_usersa_id."""

    fields = (("daddr", "16s"), ("spi", ">I"), ("family", "H"), ("proto", "B"), ("pad", "1s"))


class Acquire(nlmsg):  # type: ignore[misc]  # pyroute2 has no types
    """struct xfrm_user_acquire: for whom the kernel wants keys."""

    fields = (
        *_ID,
        ("saddr", "16s"),
        *SELECTOR,
        *((f"policy_{name}", form) for name, form in _POLICY),
        *((name, "I") for name in ("aalgos", "ealgos", "calgos", "seq")),
    )
    nla_map = ((5, "XFRMA_TMPL", "template"),)
    template = Template


def blank(message: nlmsg) -> nlmsg:
    """Fill every field with zero."""
    for name, form in message.fields:
        message[name] = b"" if form.endswith("s") else 0
    return message


def split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The messages of one datagram: type, and the message with its header (struct nlmsghdr)."""
    while len(data) >= 16:
        size = int.from_bytes(data[:4], sys.byteorder)
        if size < 16 or size > len(data):
            return
        yield int.from_bytes(data[4:6], sys.byteorder), data[:size]
        data = data[(size + 3) & ~3 :]
