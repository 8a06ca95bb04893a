"""Topology machines for a simulation: identities that cost nothing, and the machine's making."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal, TypeAlias

from ipop_modules.topology.protocol import ids
from ipop_modules.topology.protocol.machine import Machine, Member
from ipop_modules.topology.protocol.records import Sign, Verify
from ipop_modules.topology.protocol.registration import Owner

Kind: TypeAlias = Literal["open", "secret", "authority"]

NAMESPACE_KEY: Final = b"k" * 32
EPOCH: Final = 1_700_000_000.0
"""Unix time when the simulation's clock shows 0."""
LEASE: Final = 600


def cheap_sign(key: bytes) -> Callable[[bytes], bytes]:
    return lambda data: sha256(key + data).digest()


def cheap_verify(key: bytes, signature: bytes, data: bytes) -> bool:
    return sha256(key + data).digest() == signature


def cheap_certificate(node: bytes) -> bytes:
    """The authority's, for whatever address."""
    return sha256(b"authority" + node).digest()


def cheap_vouches(certificate: bytes, node: bytes, address: bytes) -> bool:
    return certificate == cheap_certificate(node)


def node_of(key: bytes) -> bytes:
    return sha256(key).digest()[: ids.SIZE]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the topology machines of a run are made."""

    long_links: int | None = 0
    leaf: bool = False
    lease: int = LEASE
    verify: Verify = cheap_verify
    kind: Kind = "open"
    """Of the namespace."""

    def machine(
        self,
        me: bytes,
        key: bytes | None,
        random: Callable[[int], bytes],
        now: float,
        *,
        namespace: bytes = NAMESPACE_KEY,
        sign: Sign | None = None,
    ) -> Machine:
        """`key`: the owner's public key, None on a bare overlay node."""
        member = None
        if key is not None:
            has_authority = self.kind == "authority"
            owner = Owner(
                key=key,
                sign=sign or cheap_sign(key),
                epoch=EPOCH,
                lease=self.lease,
                certificate=(lambda: cheap_certificate(me)) if has_authority else bytes,
            )
            member = Member(
                namespace_key=namespace,
                owner=owner,
                majority=self.kind == "open",
                vouches=cheap_vouches if has_authority else None,
            )
        return Machine(me, member, random, now, long_links=self.long_links, leaf=self.leaf, verify=self.verify)
