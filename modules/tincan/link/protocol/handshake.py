"""Making a session: Noise XX (noise.py) with each side's certificate and a signature over this very handshake.

The payloads of the second and third message carry a `Hello`. Its signature, ECDSA on P-256 with SHA-256, is over a
label, the signer's role and the handshake hash as it stands before the payload itself is encrypted: it covers both
ephemeral keys and the signer's static key, so it can be neither delegated, replayed nor sent back.

Where an `Initiator` or `Responder` raises HandshakeRefused it stays as it was, since the datagram may have been forged;
the real one may still come. Once it has answered it answers no second time: two payloads under one key and nonce would
break AES-GCM. The caller keeps the answer, to send it again when it was lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ipop_core.authority.peers import BadCertificate, Fault, PeerCertificate, read_certificate
from ipop_core.identity import node_of

from . import wire
from .noise import Handshake, NoiseError

VERSION: Final = 1
MAX_RELEASE: Final = 12
"""Characters of a release's name that are kept."""
MAX_CERTIFICATE: Final = 960
"""The longest certificate that is sent: with it the longest RESPONSE still is no longer than a padded INIT."""

Observed = tuple[bytes, int]
"""Where the other side's datagrams come from: an address of 4 or 16 bytes, and a port."""

Reason = Literal[
    "out-of-turn",
    "short-init",
    "noise",
    "payload",
    "version",
    "signature",
    "own-id",
    "wrong-node",
    "revoked",
]

_LABEL: Final = b"ipop handshake 1"
_SIGNATURE: Final = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)


class HandshakeRefused(ValueError):
    """The one error for whatever a peer does wrong; `reason` is a short code to count by.

    `speaker` is a peer that has proven who it is and speaks another version of the protocol: its node id, and which.
    """

    def __init__(self, reason: Reason | Fault, detail: str, speaker: tuple[bytes, int] | None = None) -> None:
        super().__init__(f"handshake refused ({reason}): {detail}")
        self.reason = reason
        self.speaker = speaker


_Bits = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
_Address = Annotated[bytes, msgspec.Meta(min_length=4, max_length=16)]
_Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]


class Hello(msgspec.Struct, array_like=True, frozen=True):
    """The payload. Fields that a later minor version adds at the end are skipped."""

    version: int
    certificate: bytes
    signature: bytes
    capabilities: _Bits
    offloads: _Bits
    observed: tuple[_Address, _Port] | None
    release: str = ""
    """Of the program, for people; releases before this field say nothing."""


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Hello).decode


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who this node is. Raises ValueError for a certificate that is too long or not of this key."""

    key: ec.EllipticCurvePrivateKey
    certificate: bytes
    noise_static: X25519PrivateKey
    capabilities: int = 0
    offloads: int = 0
    release: str = ""
    """Of this program, at most MAX_RELEASE characters."""
    node: bytes = field(init=False)

    def __post_init__(self) -> None:
        if len(self.certificate) > MAX_CERTIFICATE:
            raise ValueError(f"certificate of {len(self.certificate)} bytes, expected at most {MAX_CERTIFICATE}")
        node = read_certificate(self.certificate).node
        if node != node_of(self.key.public_key()):
            raise ValueError("certificate is for another key than the node's own")
        object.__setattr__(self, "release", _clean(self.release))
        object.__setattr__(self, "node", node)


@dataclass(frozen=True, slots=True)
class Established:
    """A session as both sides agreed on it. Keys are 32 bytes; `observed` is where the peer sees us."""

    certificate: PeerCertificate
    send_key: bytes = field(repr=False)
    receive_key: bytes = field(repr=False)
    handshake_hash: bytes
    local_rid: int
    remote_rid: int
    initiator: bool
    capabilities: int
    offloads: int
    observed: Observed | None
    release: str
    """Of the peer's program, as it says; "" where it says nothing."""

    @property
    def node(self) -> bytes:
        return self.certificate.node


class Initiator:
    """The side that begins. `ephemeral` is fresh and for this handshake only; `expected` is a node id to insist on."""

    def __init__(
        self, credentials: Credentials, local_rid: int, ephemeral: X25519PrivateKey, expected: bytes | None = None
    ) -> None:
        self._credentials = credentials
        self._local_rid = local_rid
        self._ephemeral = ephemeral
        self._expected = expected
        self._noise: Handshake | None = None

    def first(self, pad_to: int = 0, token: bytes = b"") -> bytes:
        """The INIT datagram, padded to `pad_to` bytes in all. Called again with a retry token it begins anew."""
        noise = Handshake(True, self._credentials.noise_static, self._ephemeral)
        message = noise.write_message(bytes(wire.init_padding(token, pad_to)))
        self._noise = noise
        return wire.Init(self._local_rid, token, message).encode()

    def on_response(self, response: wire.Response, observed: Observed | None = None) -> tuple[bytes, Established]:
        """The FINISH datagram and the session; `observed` is where the response came from. Raises HandshakeRefused."""
        if self._noise is None:
            raise HandshakeRefused("out-of-turn", "no INIT is waiting for a response")
        noise = self._noise.copy()
        hello, certificate = _read_hello(noise, response.noise, self._credentials, by_initiator=False)
        if self._expected not in (None, certificate.node):
            raise HandshakeRefused("wrong-node", f"the peer is {certificate.node.hex()}")
        message = _write_hello(noise, self._credentials, observed, by_initiator=True)
        self._noise = None
        established = _established(noise, hello, certificate, self._local_rid, response.sender, initiator=True)
        return wire.Finish(response.sender, message).encode(), established


class Responder:
    """The side that answers one INIT. `ephemeral` is fresh and used for this handshake only."""

    def __init__(self, credentials: Credentials, local_rid: int, ephemeral: X25519PrivateKey) -> None:
        self._credentials = credentials
        self._local_rid = local_rid
        self._remote_rid = 0
        self._fresh: Handshake | None = Handshake(False, credentials.noise_static, ephemeral)
        self._answered: Handshake | None = None

    def on_init(self, init: wire.Init, observed: Observed | None = None, *, padded: bool = True) -> bytes:
        """The RESPONSE datagram; `observed` is where the INIT came from. Raises HandshakeRefused.

        `padded` says that the INIT must have been padded: it came from a direct address that has not proven itself.
        """
        if self._fresh is None:
            raise HandshakeRefused("out-of-turn", "this handshake has an INIT already")
        if padded and init.size < wire.INIT_SIZE:
            raise HandshakeRefused("short-init", f"INIT of {init.size} bytes, expected {wire.INIT_SIZE}")
        noise = self._fresh.copy()
        try:
            noise.read_message(init.noise)
            message = _write_hello(noise, self._credentials, observed, by_initiator=False)
        except NoiseError as error:
            raise HandshakeRefused("noise", str(error)) from error
        self._fresh, self._answered = None, noise
        self._remote_rid = init.sender
        return wire.Response(self._local_rid, init.sender, message).encode()

    def on_finish(self, finish: wire.Finish) -> Established:
        """The session. Raises HandshakeRefused."""
        if self._answered is None:
            raise HandshakeRefused("out-of-turn", "no RESPONSE is waiting for a finish")
        noise = self._answered.copy()
        hello, certificate = _read_hello(noise, finish.noise, self._credentials, by_initiator=True)
        self._answered = None
        return _established(noise, hello, certificate, self._local_rid, self._remote_rid, initiator=False)


def _write_hello(noise: Handshake, credentials: Credentials, observed: Observed | None, *, by_initiator: bool) -> bytes:
    keys = noise.write_keys()
    signature = credentials.key.sign(_signed(noise.handshake_hash, by_initiator=by_initiator), _SIGNATURE)
    hello = Hello(
        version=VERSION,
        certificate=credentials.certificate,
        signature=signature,
        capabilities=credentials.capabilities,
        offloads=credentials.offloads,
        observed=observed,
        release=credentials.release,
    )
    return keys + noise.write_payload(_encode(hello))


def _read_hello(
    noise: Handshake, message: bytes, credentials: Credentials, *, by_initiator: bool
) -> tuple[Hello, PeerCertificate]:
    """What the peer says of itself, proven. Raises HandshakeRefused."""
    try:
        encrypted = noise.read_keys(message)
        signed = _signed(noise.handshake_hash, by_initiator=by_initiator)
        hello = _decode(noise.read_payload(encrypted))
        certificate = read_certificate(hello.certificate)
        certificate.public_key.verify(hello.signature, signed, _SIGNATURE)
    except NoiseError as error:
        raise HandshakeRefused("noise", str(error)) from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise HandshakeRefused("payload", str(error)) from error
    except BadCertificate as error:
        raise HandshakeRefused(error.reason, str(error)) from error
    except InvalidSignature as error:
        raise HandshakeRefused("signature", "not made by the certificate's key for this handshake") from error
    if hello.version != VERSION:
        detail = f"the peer speaks version {hello.version}, expected {VERSION}"
        raise HandshakeRefused("version", detail, (certificate.node, hello.version))
    if hello.observed and len(hello.observed[0]) not in (4, 16):
        raise HandshakeRefused("payload", f"address of {len(hello.observed[0])} bytes, expected 4 or 16")
    if certificate.node == credentials.node:
        raise HandshakeRefused("own-id", "the peer presents this node's own id")
    return hello, certificate


def _signed(handshake_hash: bytes, *, by_initiator: bool) -> bytes:
    return _LABEL + (b"I" if by_initiator else b"R") + handshake_hash


def _established(
    noise: Handshake, hello: Hello, certificate: PeerCertificate, local_rid: int, remote_rid: int, *, initiator: bool
) -> Established:
    send_key, receive_key = noise.split()
    return Established(
        certificate=certificate,
        send_key=send_key,
        receive_key=receive_key,
        handshake_hash=noise.handshake_hash,
        local_rid=local_rid,
        remote_rid=remote_rid,
        initiator=initiator,
        capabilities=hello.capabilities,
        offloads=hello.offloads,
        observed=hello.observed,
        release=_clean(hello.release),
    )


def _clean(release: str) -> str:
    """It is shown to people, and peers choose it."""
    return "".join(char for char in release if char.isascii() and (char.isalnum() or char in ".+-"))[:MAX_RELEASE]
