"""What the namespace's authority says: this node's certificate for its records, and whether others' bear it out.

Revocation is not looked at here: a revoked node may still be found, and is refused where its sessions are made.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ipop_core.authority.peers import BadCertificate, read_certificate
from ipop_core.authority.verifying import Verifier
from ipop_core.clock import boot_clock
from ipop_core.identity import CERTIFICATE_FILE, Identity
from ipop_modules.topology.protocol.proof import Vouches


def own_certificate(identity: Identity) -> bytes:
    """As it lies in the node's folder, DER; empty while there is none, and then nobody believes this node's records."""
    try:
        pem = (identity.folder / CERTIFICATE_FILE).read_bytes()
        return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    except (OSError, ValueError):
        return b""


def vouching(authorities: Sequence[x509.Certificate]) -> Vouches:
    """Check certificates by these authorities at the time that it is when they are first asked of one."""
    verifier = Verifier(authorities)

    def vouches(der: bytes, node: bytes, address: bytes) -> bool:
        try:
            certificate = read_certificate(der)
            verifier.verify(certificate, time.time(), boot_clock())
        except BadCertificate:
            return False
        return certificate.node == node and address in {given.packed for given in certificate.addresses}

    return vouches
