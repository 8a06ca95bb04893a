"""Certificates that an authority signed, each judged by the date on which it is first seen.

From then on what was left of its time runs on a clock that nobody can set: a node whose date is set wrongly while it
runs keeps the peers that it knows, and ends their memberships when it would have.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from cryptography import x509

from ipop_core.authority.peers import PeerCertificate, verify_by_authority

MOST: Final = 4096
"""Certificates that are remembered; of more the oldest are judged anew."""


class Verifier:
    """Of one namespace's authorities; there may be none."""

    def __init__(self, authorities: Sequence[x509.Certificate]) -> None:
        self._authorities: Final = tuple(authorities)
        self._ends: Final[dict[bytes, float]] = {}
        """By the hash of a certificate, the `now` at which it ends."""

    def verify(self, certificate: PeerCertificate, unix_time: float, now: float) -> None:
        """As `verify_by_authority`; `now` is in seconds of any clock that is never set. Raises BadCertificate."""
        known = sha256(certificate.der).digest()
        if now < self._ends.get(known, now):
            return
        self._ends.pop(known, None)
        verify_by_authority(certificate, self._authorities, unix_time)
        self._ends[known] = now + (self._end_of(certificate) - datetime.fromtimestamp(unix_time, UTC)).total_seconds()
        if len(self._ends) > MOST:
            del self._ends[next(iter(self._ends))]

    def _end_of(self, certificate: PeerCertificate) -> datetime:
        """Its own end, or its authority's where that comes first."""
        leaf = x509.load_der_x509_certificate(certificate.der)
        signers = [item.not_valid_after_utc for item in self._authorities if item.subject == leaf.issuer]
        return min(leaf.not_valid_after_utc, *signers)
