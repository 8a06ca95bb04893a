"""Certificates, credentials and finished handshakes for the tests of this folder."""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Iterable
from datetime import UTC

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from ipop_modules.tincan.link.protocol import wire
from ipop_modules.tincan.link.protocol.handshake import Credentials, Established, Initiator, Responder

FROM = datetime.datetime(2020, 1, 1, tzinfo=UTC)
UNTIL = datetime.datetime(2040, 1, 1, tzinfo=UTC)
NOW = datetime.datetime(2026, 6, 1, tzinfo=UTC).timestamp()

Extension = tuple[x509.ExtensionType, bool]


def p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def addresses(*texts: str, critical: bool = False) -> Extension:
    return x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(text)) for text in texts]), critical


def certificate(
    key: ec.EllipticCurvePrivateKey,
    *extensions: Extension,
    issuer: tuple[str, ec.EllipticCurvePrivateKey] | None = None,
    name: str = "node",
    until: datetime.datetime = UNTIL,
) -> x509.Certificate:
    """Self-signed, or signed by the issuer (name, key)."""
    issuer_name, issuer_key = issuer or (name, key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer_name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(FROM)
        .not_valid_after(until)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer_key, hashes.SHA256())


def authority(key: ec.EllipticCurvePrivateKey, *extensions: Extension, name: str = "authority") -> x509.Certificate:
    sign = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    return certificate(
        key,
        (x509.BasicConstraints(ca=True, path_length=None), True),
        (sign, True),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        *extensions,
        name=name,
    )


def der(made: x509.Certificate) -> bytes:
    return made.public_bytes(Encoding.DER)


def credentials(*ips: str, capabilities: int = 0, offloads: int = 0, release: str = "") -> Credentials:
    key = p256()
    made = certificate(key, addresses(*(ips or ("192.168.10.10",))))
    return Credentials(key, der(made), X25519PrivateKey.generate(), capabilities, offloads, release)


def handshake(alice: Credentials, bob: Credentials, rids: Iterable[int] = (11, 22)) -> tuple[Established, Established]:
    """What Alice, the initiator, and Bob agree on."""
    alices_rid, bobs_rid = rids
    initiator = Initiator(alice, alices_rid, X25519PrivateKey.generate())
    responder = Responder(bob, bobs_rid, X25519PrivateKey.generate())
    response = responder.on_init(init_of(initiator.first(pad_to=wire.INIT_SIZE)))
    finish, at_alice = initiator.on_response(response_of(response))
    return at_alice, responder.on_finish(finish_of(finish))


def init_of(datagram: bytes) -> wire.Init:
    parsed = wire.parse(datagram)
    assert isinstance(parsed, wire.Init)
    return parsed


def response_of(datagram: bytes) -> wire.Response:
    parsed = wire.parse(datagram)
    assert isinstance(parsed, wire.Response)
    return parsed


def finish_of(datagram: bytes) -> wire.Finish:
    parsed = wire.parse(datagram)
    assert isinstance(parsed, wire.Finish)
    return parsed


def ephemeral() -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(os.urandom(32))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
