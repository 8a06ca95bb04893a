"""The datagrams that travel between two nodes: their formats, and the code that reads and writes them.

All integers are in network byte order; the first byte is the type. A receiver id (rid) is a random 64-bit number that
its owner chose, so that a datagram finds its session whatever address it comes from.

    INIT 1       sender rid 8, token length 1, token 0 or 16..32, Noise message 1
    RESPONSE 2   sender rid 8, receiver rid 8, Noise message 2
    FINISH 3     receiver rid 8, Noise message 3
    RETRY 4      receiver rid 8, token 16..32: "show me that you receive at your address" (retry.py)
    ECHO 6       token 8: this node's own, sent to its outer address to see whether it comes back (filtering.py)
    FRAGMENT 5   receiver rid 8, block number 8, offset 4, total 4, then the bytes of the sealed block from that offset
    REPAIR 7     receiver rid 8, block number 8, zero 4, total 4, then what stands for one lost FRAGMENT (repair.py)

On a direct address that has not yet answered, INIT is padded to INIT_SIZE by zeros in the plaintext payload of Noise
message 1, and no answer is longer: an INIT with a forged source cannot be made into a bigger flood. Over the overlay
it is not padded. A FRAGMENT's total is the length of the whole sealed block, its block number is also the counter in
the cipher's nonce (keys.py). FRAGMENT is the hot one: joining.py reads it and REPAIR in bulk, and `parse` refuses them.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

INIT: Final = 1
RESPONSE: Final = 2
FINISH: Final = 3
RETRY: Final = 4
FRAGMENT: Final = 5
ECHO: Final = 6
REPAIR: Final = 7
PARTS: Final = frozenset((FRAGMENT, REPAIR))
"""Parts of a block."""
ECHO_TYPE: Final = bytes((ECHO,))

INIT_SIZE: Final = 1200
MIN_TOKEN: Final = 16
MAX_TOKEN: Final = 32
MAX_HANDSHAKE: Final = 8192
"""The longest handshake datagram that is looked at; a certificate of 4 KB fits with room to spare."""

FRAGMENT_HEADER: Final = Struct("!BQQII")
FRAGMENT_HEADER_SIZE: Final = FRAGMENT_HEADER.size

_INIT: Final = Struct("!BQB")
_RESPONSE: Final = Struct("!BQQ")
_FINISH: Final = Struct("!BQ")
_RETRY: Final = Struct("!BQ")

EPHEMERAL_SIZE: Final = 32
_TAG = 16
_STATIC = EPHEMERAL_SIZE + _TAG
_SHORTEST_MESSAGE_2 = EPHEMERAL_SIZE + _STATIC + _TAG
_SHORTEST_MESSAGE_3 = _STATIC + _TAG

RESPONSE_OVERHEAD: Final = _RESPONSE.size + _SHORTEST_MESSAGE_2
"""Bytes of a RESPONSE around the payload of Noise message 2."""


class BadDatagram(ValueError):
    """A datagram that is none of the formats above. The text names the field and what was expected."""


@dataclass(frozen=True, slots=True)
class Init:
    sender: int
    token: bytes
    noise: bytes

    @property
    def ephemeral(self) -> bytes:
        """The initiator's ephemeral public key, 32 bytes: what a retry token is bound to."""
        return self.noise[:EPHEMERAL_SIZE]

    @property
    def size(self) -> int:
        return _INIT.size + len(self.token) + len(self.noise)

    def encode(self) -> bytes:
        return _INIT.pack(INIT, self.sender, len(self.token)) + self.token + self.noise


@dataclass(frozen=True, slots=True)
class Response:
    sender: int
    receiver: int
    noise: bytes

    def encode(self) -> bytes:
        return _RESPONSE.pack(RESPONSE, self.sender, self.receiver) + self.noise


@dataclass(frozen=True, slots=True)
class Finish:
    receiver: int
    noise: bytes

    def encode(self) -> bytes:
        return _FINISH.pack(FINISH, self.receiver) + self.noise


@dataclass(frozen=True, slots=True)
class Retry:
    receiver: int
    token: bytes

    def encode(self) -> bytes:
        return _RETRY.pack(RETRY, self.receiver) + self.token


HandshakeDatagram = Init | Response | Finish | Retry


def init_padding(token: bytes, size: int) -> int:
    """Zero bytes of payload that make an INIT with `token` exactly `size` long; none when it is as long already."""
    return max(0, size - _INIT.size - len(token) - EPHEMERAL_SIZE)


def parse(datagram: bytes | memoryview) -> HandshakeDatagram:
    """Read one handshake datagram. Raises BadDatagram, also for a FRAGMENT or a REPAIR."""
    if not datagram:
        raise BadDatagram("datagram is empty, expected a type byte")
    if len(datagram) > MAX_HANDSHAKE:
        raise BadDatagram(f"datagram of {len(datagram)} bytes, expected at most {MAX_HANDSHAKE}")
    data = bytes(datagram)
    match data[0]:
        case 1:
            return _parse_init(data)
        case 2:
            return _parse_response(data)
        case 3:
            _at_least(data, _FINISH.size + _SHORTEST_MESSAGE_3, "FINISH")
            return Finish(_FINISH.unpack_from(data)[1], data[_FINISH.size :])
        case 4:
            return _parse_retry(data)
        case kind:
            raise BadDatagram(f"type {kind}, expected a handshake datagram ({INIT} to {RETRY})")


def _parse_init(data: bytes) -> Init:
    _at_least(data, _INIT.size + EPHEMERAL_SIZE, "INIT")
    _, sender, token_size = _INIT.unpack_from(data)
    if token_size and not MIN_TOKEN <= token_size <= MAX_TOKEN:
        raise BadDatagram(f"INIT token of {token_size} bytes, expected none or {MIN_TOKEN} to {MAX_TOKEN}")
    end = _INIT.size + token_size
    _at_least(data, end + EPHEMERAL_SIZE, "INIT")
    return Init(sender, data[_INIT.size : end], data[end:])


def _parse_response(data: bytes) -> Response:
    _at_least(data, RESPONSE_OVERHEAD, "RESPONSE")
    _, sender, receiver = _RESPONSE.unpack_from(data)
    return Response(sender, receiver, data[_RESPONSE.size :])


def _parse_retry(data: bytes) -> Retry:
    _at_least(data, _RETRY.size + MIN_TOKEN, "RETRY")
    token = data[_RETRY.size :]
    if len(token) > MAX_TOKEN:
        raise BadDatagram(f"RETRY token of {len(token)} bytes, expected {MIN_TOKEN} to {MAX_TOKEN}")
    return Retry(_RETRY.unpack_from(data)[1], token)


def _at_least(data: bytes, size: int, name: str) -> None:
    if len(data) < size:
        raise BadDatagram(f"{name} of {len(data)} bytes, expected at least {size}")
