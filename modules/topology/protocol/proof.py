"""Whether a record gives its owner the key that it lies under, as members of the namespace judge it.

Its owner must have signed it, and know the namespace's key. Where there is an authority, the record bears its
certificate for the address; for a host name, for all addresses that it names. A storer can check the signature alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from ipop_modules.topology.protocol.profile import opened
from ipop_modules.topology.protocol.records import Kind, Record, Verify, is_genuine, is_sealed

Vouches: TypeAlias = Callable[[bytes, bytes, bytes], bool]
"""Certificate (DER), node id, address: whether the namespace's authority gives the node that address."""


class Proof:
    def __init__(self, namespace_key: bytes, verify: Verify, vouches: Vouches | None = None) -> None:
        """`vouches` is None where the namespace has no authority."""
        self._namespace_key = namespace_key
        self._verify = verify
        self._vouches = vouches

    def is_kept(self, record: Record, kind: Kind, key: bytes) -> bool:
        """Whether an honest storer would keep it under this key."""
        return record.kind == kind and record.key == key and is_genuine(record, self._verify)

    def holds(self, record: Record, kind: Kind, key: bytes, subject: bytes | str | None) -> bool:
        """`subject`: the address or name of the key, None for the set of members. A withdrawal needs no voucher."""
        if not self.is_kept(record, kind, key) or not is_sealed(record, self._namespace_key):
            return False
        if self._vouches is None or record.withdrawn or subject is None:
            return True
        says = opened(record, self._namespace_key)
        addresses = says.addresses if isinstance(subject, str) else (subject,)
        return bool(addresses) and all(self._vouches(says.certificate, record.owner, address) for address in addresses)
