"""What this node shows to others: its certificate, and what is wrong with it in an authority's namespace."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from importlib.metadata import version
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding

from ipop_core.authority.peers import BadCertificate, read_certificate, verify_by_authority
from ipop_core.authority.revocation import RevocationList
from ipop_core.contract import ModuleContext
from ipop_core.errors import IpopError

from .link.protocol.handshake import Credentials
from .link.protocol.state import Node
from .revoked import load_lists

MEND: Final = "ask for one with `ipop ca request`, and take it with `ipop ca install`"


def own_node(context: ModuleContext, addresses: Sequence[IPv4Address | IPv6Address]) -> Node:
    """This node, with these virtual addresses. Raises IpopError for a certificate that can't be used.

    One that makes no member is only complained of: the node still carries others' packets, and waits for a better one.
    """
    identity, namespace = context.identity, context.namespace
    certificate = identity.certificate(addresses).public_bytes(Encoding.DER)
    static = X25519PrivateKey.from_private_bytes(os.urandom(32))
    try:
        credentials = Credentials(identity.key, certificate, static, release=version("ipop"))
    except ValueError as error:
        raise IpopError(f"identity.crt: {error}") from error
    lists = () if namespace is None else load_lists(identity.folder, namespace.authorities)
    if namespace is not None and namespace.authorities and addresses:
        try:
            _check(context, certificate, addresses, lists)
        except BadCertificate as error:
            context.report_fault(f"this node is no member of its namespace: {error}; {MEND}")
    return Node(
        node=identity.node,
        credentials=credentials,
        namespace=namespace,
        cipher=AESGCM,
        unix_time=time.time,
        revocations=lists,
    )


def _check(
    context: ModuleContext,
    der: bytes,
    addresses: Sequence[IPv4Address | IPv6Address],
    lists: Sequence[RevocationList],
) -> None:
    authorities = () if context.namespace is None else context.namespace.authorities
    certificate = read_certificate(der)
    verify_by_authority(certificate, authorities, time.time())
    if any(known.revokes(certificate.serial, certificate.node) for known in lists):
        raise BadCertificate("revoked", "the authority took back this node's certificate")
    missing = [str(address) for address in addresses if address not in certificate.addresses]
    if missing:
        given = ", ".join(map(str, certificate.addresses))
        raise BadCertificate("no-address", f"its certificate is for {given}, not for {', '.join(missing)}")
