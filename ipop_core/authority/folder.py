"""The folder of an authority, and what its owner does there: issue, renew, revoke.

    ca.pem                       the authority's certificate, which every member gets
    ca.key                       its key
    crl.der                      the newest list of revoked certificates
    certificates/SERIAL.pem      every certificate that it issued

There is no other record: what was issued, to whom and until when is read from the certificates themselves. Whoever
changes something holds a lock on the folder.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
import urllib.parse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from ipop_core.authority.certificates import (
    MAX_MEMBER_DER,
    Network,
    addresses_of,
    common_name,
    make_authority,
    make_member,
    networks_of,
    p256_key,
)
from ipop_core.authority.keyfile import is_encrypted, read_key, write_key
from ipop_core.authority.revocation import (
    BadRevocationList,
    RevocationList,
    Revoked,
    make_revocation_list,
    read_revocation_list,
)
from ipop_core.errors import ConfigError
from ipop_core.files import private_folder, write_private
from ipop_core.folders import state_root
from ipop_core.identity import UNREADABLE_CERTIFICATE, Address, node_of

CERTIFICATE: Final = "ca.pem"
KEY: Final = "ca.key"
LIST: Final = "crl.der"
ISSUED: Final = "certificates"

State: TypeAlias = Literal["valid", "expired", "revoked"]


@dataclass(frozen=True)
class Issued:
    """A certificate that the authority issued."""

    certificate: x509.Certificate
    name: str
    node: bytes
    addresses: tuple[Address, ...]
    state: State

    @property
    def serial(self) -> int:
        return self.certificate.serial_number


def authorities_root() -> Path:
    """Where authorities lie that were given no folder; beside the nodes' state folders, none of which has a dot."""
    return state_root() / "authorities.d"


def default_folder(namespace: str) -> Path:
    """The folder of a namespace's authority; any namespace's name makes one folder name."""
    quoted = urllib.parse.quote(namespace, safe="")
    return authorities_root() / (f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted)


def create(folder: Path, namespace: str, networks: Sequence[Network], passphrase: str | None) -> Authority:
    """Make a new authority. Raises ConfigError; what is there is never replaced."""
    private_folder(folder)
    with _locked(folder):
        if (folder / CERTIFICATE).exists():
            raise ConfigError(str(folder), "has an authority already")
        (folder / KEY).unlink(missing_ok=True)  # an earlier attempt broke off before its certificate was there
        key = ec.generate_private_key(ec.SECP256R1())
        write_key(folder / KEY, key, passphrase)
        private_folder(folder / ISSUED)
        certificate = make_authority(key, namespace, networks, _now())
        write_private(folder / CERTIFICATE, certificate.public_bytes(Encoding.PEM))
    return Authority(folder)


class Authority:
    """An authority whose folder is at hand. Raises ConfigError where the folder holds none."""

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        self.certificate: Final = _load(folder / CERTIFICATE, "make the authority with: ipop ca init NAME")

    @property
    def needs_passphrase(self) -> bool:
        return is_encrypted(self.folder / KEY)

    @property
    def list_path(self) -> Path:
        return self.folder / LIST

    @property
    def revocations(self) -> RevocationList | None:
        """The newest list; None while nothing was revoked."""
        try:
            return read_revocation_list(self.list_path.read_bytes(), [self.certificate])
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(str(self.list_path), f"can't be read: {error.strerror}") from None
        except BadRevocationList as error:
            raise ConfigError(str(self.list_path), f"{error}; restore it from a backup, or from any node") from None

    def issued(self) -> list[Issued]:
        """Everything that was issued, the newest last."""
        now, revoked = _now(), self.revocations
        certificates = [_load(path, "restore it from a backup") for path in (self.folder / ISSUED).glob("*.pem")]
        certificates.sort(key=lambda item: (item.not_valid_before_utc, item.serial_number))
        return [_issued(item, revoked, now) for item in certificates]

    def issue(
        self,
        name: str,
        public_key: ec.EllipticCurvePublicKey,
        addresses: Sequence[Address],
        lifetime: datetime.timedelta,
        passphrase: str | None,
    ) -> x509.Certificate:
        """Sign a certificate and keep a copy. Raises ConfigError where it would break a rule of the authority."""
        with _locked(self.folder):
            now = _now()
            until = min(now + lifetime, self.certificate.not_valid_after_utc)
            self._check_addresses(addresses)
            self._check_claims(name, node_of(public_key), set(addresses))
            made = make_member(
                self.certificate,
                self._key(passphrase),
                name=name,
                public_key=public_key,
                addresses=addresses,
                now=now,
                until=until,
            )
            if (size := len(made.public_bytes(Encoding.DER))) > MAX_MEMBER_DER:
                fault = (
                    f"{len(addresses)} addresses make a certificate of {size} bytes; it has at most {MAX_MEMBER_DER}"
                )
                raise ConfigError("--address", fault)
            write_private(self.folder / ISSUED / f"{made.serial_number:x}.pem", made.public_bytes(Encoding.PEM))
        return made

    def revoke(self, which: Sequence[Issued], passphrase: str | None) -> RevocationList:
        """Take certificates back, and their keys with them: the new list. Raises ConfigError."""
        with _locked(self.folder):
            known = self.revocations
            number = 1 if known is None else known.number + 1
            entries = () if known is None else known.entries
            now = _now().replace(microsecond=0)
            fresh = [Revoked(item.serial, item.node, now) for item in which if item.state != "revoked"]
            der = make_revocation_list(self.certificate, self._key(passphrase), number, [*entries, *fresh], now)
            made = read_revocation_list(der, [self.certificate])
            write_private(self.list_path, der)
        return made

    def _key(self, passphrase: str | None) -> ec.EllipticCurvePrivateKey:
        public_key = p256_key(self.certificate)
        if public_key is None:
            raise ConfigError(str(self.folder / CERTIFICATE), "has no key on P-256")
        return read_key(self.folder / KEY, public_key, passphrase)

    def _check_addresses(self, addresses: Sequence[Address]) -> None:
        networks = networks_of(self.certificate)
        if not addresses:
            raise ConfigError("--address", "is missing: a member has at least one virtual address")
        for address in addresses:
            network = next((network for network in networks if address in network), None)
            if network is None:
                allowed = ", ".join(map(str, networks))
                raise ConfigError("--address", f"{address} is outside the authority's networks ({allowed})")
            if network.version == 4 and network.prefixlen < 31 and address in (network[0], network[-1]):
                raise ConfigError("--address", f"{address} is the network's or the broadcast address of {network}")

    def _check_claims(self, name: str, node: bytes, addresses: set[Address]) -> None:
        """No address and no name belongs to two nodes at once, and a revoked key stays revoked."""
        for other in self.issued():
            if other.node == node:
                if other.state == "revoked":
                    fault = "the key of this node was revoked; it needs a new one: remove identity.key there"
                    raise ConfigError(name, fault)
                continue
            if other.state != "valid":
                continue
            until = f"until {other.certificate.not_valid_after_utc:%Y-%m-%d}"
            if other.name == name:
                fault = f"has a certificate for another key {until}; to replace it, first: ipop ca revoke {name}"
                raise ConfigError(name, fault)
            for address in sorted(addresses & set(other.addresses), key=str):
                raise ConfigError("--address", f"{address} belongs to {other.name} {until}")


def _issued(certificate: x509.Certificate, revoked: RevocationList | None, now: datetime.datetime) -> Issued:
    public_key = p256_key(certificate)
    node = b"" if public_key is None else node_of(public_key)
    state: State = "valid"
    if revoked is not None and revoked.revokes(certificate.serial_number, node):
        state = "revoked"
    elif certificate.not_valid_after_utc <= now:
        state = "expired"
    return Issued(certificate, common_name(certificate), node, addresses_of(certificate), state)


def _load(path: Path, mend: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise ConfigError(str(path), f"can't be read: {error.strerror}; {mend}") from None
    except UNREADABLE_CERTIFICATE:
        raise ConfigError(str(path), f"is not a certificate in PEM; {mend}") from None


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(str(folder), f"can't be written: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
