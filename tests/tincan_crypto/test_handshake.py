from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ipop_modules.tincan.link.protocol import handshake as module
from ipop_modules.tincan.link.protocol import wire
from ipop_modules.tincan.link.protocol.handshake import (
    MAX_CERTIFICATE,
    MAX_RELEASE,
    Credentials,
    HandshakeRefused,
    Hello,
    Initiator,
    Responder,
)
from ipop_modules.tincan.link.protocol.membership import PROOF_SIZE, check_proof, make_proof
from ipop_modules.tincan.link.protocol.noise import Handshake

from .makers import (
    addresses,
    certificate,
    credentials,
    der,
    ephemeral,
    finish_of,
    handshake,
    init_of,
    p256,
    response_of,
)

ALICE = credentials("192.168.10.10", capabilities=3, offloads=5, release="1.0.0+x")
BOB = credentials("192.168.10.20", capabilities=2**32 - 1, offloads=6, release="0.9")


def begin(alice: Credentials = ALICE, bob: Credentials = BOB) -> tuple[Initiator, Responder, wire.Response]:
    initiator, responder = Initiator(alice, 11, ephemeral()), Responder(bob, 22, ephemeral())
    response = responder.on_init(init_of(initiator.first(pad_to=wire.INIT_SIZE)))
    return initiator, responder, response_of(response)


def reason(call: Callable[[], object]) -> str:
    with pytest.raises(HandshakeRefused) as refusal:
        call()
    assert str(refusal.value).startswith(f"handshake refused ({refusal.value.reason}): ")
    return refusal.value.reason


def test_both_sides_agree() -> None:
    initiator, responder = Initiator(ALICE, 11, ephemeral(), expected=BOB.node), Responder(BOB, 22, ephemeral())
    init = init_of(initiator.first(pad_to=wire.INIT_SIZE))
    assert init.size == wire.INIT_SIZE
    response = responder.on_init(init, observed=(b"\x01\x02\x03\x04", 4000))
    finish, at_alice = initiator.on_response(response_of(response), observed=(bytes(16), 5000))
    at_bob = responder.on_finish(finish_of(finish))
    assert (at_alice.send_key, at_alice.receive_key) == (at_bob.receive_key, at_bob.send_key)
    assert at_alice.send_key != at_alice.receive_key
    assert at_alice.handshake_hash == at_bob.handshake_hash
    assert (at_alice.node, at_bob.node) == (BOB.node, ALICE.node)
    assert (at_alice.local_rid, at_alice.remote_rid) == (at_bob.remote_rid, at_bob.local_rid) == (11, 22)
    assert (at_alice.initiator, at_bob.initiator) == (True, False)
    assert (at_alice.capabilities, at_alice.offloads) == (BOB.capabilities, BOB.offloads)
    assert (at_bob.capabilities, at_bob.offloads) == (ALICE.capabilities, ALICE.offloads)
    assert (at_alice.release, at_bob.release) == ("0.9", "1.0.0+x")
    assert at_alice.observed == (b"\x01\x02\x03\x04", 4000)
    assert at_bob.observed == (bytes(16), 5000)
    assert at_bob.certificate.der == ALICE.certificate
    assert at_alice.send_key.hex() not in repr(at_alice)


def test_a_retry_token_begins_anew() -> None:
    initiator, responder = Initiator(ALICE, 11, ephemeral()), Responder(BOB, 22, ephemeral())
    first = init_of(initiator.first(pad_to=wire.INIT_SIZE))
    again = init_of(initiator.first(pad_to=wire.INIT_SIZE, token=bytes(16)))
    assert again.size == wire.INIT_SIZE
    assert again.ephemeral == first.ephemeral
    finish, _ = initiator.on_response(response_of(responder.on_init(again)))
    responder.on_finish(finish_of(finish))


def test_over_the_overlay_nothing_is_padded() -> None:
    init = init_of(Initiator(ALICE, 11, ephemeral()).first())
    assert init.size < 64
    assert reason(lambda: Responder(BOB, 22, ephemeral()).on_init(init)) == "short-init"
    response_of(Responder(BOB, 22, ephemeral()).on_init(init, padded=False))


def longest_credentials() -> Credentials:
    """A certificate of exactly the greatest length."""
    key = p256()
    filler = x509.ObjectIdentifier("1.3.6.1.4.1.99999.1")
    size = 400
    while True:
        names = addresses("192.168.10.10")
        made = der(certificate(key, names, (x509.UnrecognizedExtension(filler, bytes(size)), False)))
        if len(made) == MAX_CERTIFICATE:
            return Credentials(key, made, X25519PrivateKey.generate(), 2**32 - 1, 2**32 - 1, "x" * 99)
        # A signature takes 70 to 72 bytes, so near the goal the same size may give the right length the next time.
        size += max(-1, min(MAX_CERTIFICATE - len(made), 40)) if abs(MAX_CERTIFICATE - len(made)) > 2 else 0


def test_no_response_is_longer_than_a_padded_init() -> None:
    longest = longest_credentials()
    for _ in range(20):  # signatures differ in length
        init = init_of(Initiator(ALICE, 2**64 - 1, ephemeral()).first(pad_to=wire.INIT_SIZE))
        response = Responder(longest, 2**64 - 1, ephemeral()).on_init(init, observed=(bytes(16), 65_535))
        assert len(response) <= wire.INIT_SIZE


def test_credentials_that_cannot_serve_are_refused() -> None:
    key = p256()
    filler = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), bytes(800))
    long = der(certificate(key, (filler, False)))
    with pytest.raises(ValueError, match=f"certificate of {len(long)} bytes, expected at most 960"):
        Credentials(key, long, X25519PrivateKey.generate())
    with pytest.raises(ValueError, match="another key"):
        Credentials(p256(), ALICE.certificate, X25519PrivateKey.generate())


def test_our_own_id_is_refused() -> None:
    again = dataclasses.replace(ALICE, noise_static=X25519PrivateKey.generate())
    initiator, _, response = begin(ALICE, again)
    assert reason(lambda: initiator.on_response(response)) == "own-id"


def test_another_node_than_the_expected_learns_nothing_of_us() -> None:
    initiator, responder = Initiator(ALICE, 11, ephemeral(), expected=bytes(20)), Responder(BOB, 22, ephemeral())
    response = response_of(responder.on_init(init_of(initiator.first(pad_to=1200))))
    assert reason(lambda: initiator.on_response(response)) == "wrong-node"


def test_a_forged_datagram_does_not_stop_the_real_one() -> None:
    initiator, responder, response = begin()
    forged = dataclasses.replace(response, noise=response.noise[:-1] + bytes([response.noise[-1] ^ 1]))
    assert reason(lambda: initiator.on_response(forged)) == "noise"
    finish_datagram, _ = initiator.on_response(response)
    finish = finish_of(finish_datagram)
    forged_finish = dataclasses.replace(finish, noise=finish.noise[:-1] + bytes([finish.noise[-1] ^ 1]))
    assert reason(lambda: responder.on_finish(forged_finish)) == "noise"
    responder.on_finish(finish)


def test_nothing_is_answered_twice() -> None:
    initiator, responder, response = begin()
    init = init_of(Initiator(ALICE, 11, ephemeral()).first(pad_to=1200))
    assert reason(lambda: responder.on_init(init)) == "out-of-turn"
    finish, _ = initiator.on_response(response)
    assert reason(lambda: initiator.on_response(response)) == "out-of-turn"
    responder.on_finish(finish_of(finish))
    assert reason(lambda: responder.on_finish(finish_of(finish))) == "out-of-turn"
    assert reason(lambda: Responder(BOB, 1, ephemeral()).on_finish(finish_of(finish))) == "out-of-turn"
    assert reason(lambda: Initiator(BOB, 1, ephemeral()).on_response(response)) == "out-of-turn"


class Rogue:
    """A responder that speaks Noise as it should and fills its payload as it likes."""

    def __init__(self, init: wire.Init) -> None:
        self.noise = Handshake(False, X25519PrivateKey.generate(), ephemeral())
        self.noise.read_message(init.noise)
        self.keys = self.noise.write_keys()

    def answer(self, payload: bytes) -> wire.Response:
        return wire.Response(22, 11, self.keys + self.noise.write_payload(payload))

    def hello(self, who: Credentials = BOB, role: bytes = b"R", handshake_hash: bytes | None = None) -> Hello:
        signed = b"ipop handshake 1" + role + (handshake_hash or self.noise.handshake_hash)
        return Hello(1, who.certificate, who.key.sign(signed, ec.ECDSA(hashes.SHA256())), 0, 0, None)


def answered(change: Callable[[Rogue], bytes]) -> str:
    """Why the initiator refuses what the rogue answers; "" when it does not."""
    initiator = Initiator(ALICE, 11, ephemeral())
    rogue = Rogue(init_of(initiator.first()))
    try:
        initiator.on_response(rogue.answer(change(rogue)))
    except HandshakeRefused as refusal:
        return refusal.reason
    return ""


def finished(payload: bytes) -> str:
    """Why the responder refuses a FINISH with this payload; "" when it does not."""
    noise = Handshake(True, X25519PrivateKey.generate(), ephemeral())
    responder = Responder(ALICE, 22, ephemeral())
    response = response_of(responder.on_init(wire.Init(11, b"", noise.write_message(b"")), padded=False))
    noise.read_message(response.noise)
    try:
        responder.on_finish(wire.Finish(22, noise.write_message(payload)))
    except HandshakeRefused as refusal:
        return refusal.reason
    return ""


pack = msgspec.msgpack.encode


def test_payloads_of_a_rogue_are_refused_for_what_is_wrong() -> None:
    replace = msgspec.structs.replace
    assert answered(lambda rogue: pack(rogue.hello())) == ""  # the control: this rogue does nothing wrong
    assert answered(lambda rogue: pack(rogue.hello(role=b"I"))) == "signature"
    assert answered(lambda rogue: pack(rogue.hello(handshake_hash=bytes(32)))) == "signature"
    assert answered(lambda rogue: pack(replace(rogue.hello(), certificate=credentials().certificate))) == "signature"
    assert answered(lambda rogue: pack(replace(rogue.hello(), certificate=bytes(5000)))) == "too-long"
    assert answered(lambda rogue: pack(replace(rogue.hello(), version=2))) == "version"
    assert answered(lambda rogue: pack(rogue.hello(who=ALICE))) == "own-id"
    assert answered(lambda rogue: pack(replace(rogue.hello(), capabilities=2**32))) == "payload"
    assert answered(lambda rogue: pack(replace(rogue.hello(), observed=(bytes(7), 1)))) == "payload"
    assert answered(lambda rogue: pack(replace(rogue.hello(), observed=(bytes(4), 0)))) == "payload"
    assert answered(lambda rogue: b"") == "payload"
    assert answered(lambda rogue: pack(rogue.hello())[:-1] + b"\xa2\xff\xfe") == "payload"  # a release, not UTF-8
    nested = b"\x91" * 3000 + b"\xc0"
    assert answered(lambda rogue: b"\x98" + pack(rogue.hello())[1:] + nested) == "payload"
    # A field that a later minor version adds at the end.
    assert answered(lambda rogue: pack([*msgspec.structs.astuple(rogue.hello()), "more"])) == ""


@given(st.text())
def test_what_a_peer_says_of_its_release_is_fit_to_be_shown(said: str) -> None:
    initiator = Initiator(ALICE, 11, ephemeral())
    rogue = Rogue(init_of(initiator.first()))
    _, agreed = initiator.on_response(rogue.answer(pack(msgspec.structs.replace(rogue.hello(), release=said))))
    assert len(agreed.release) <= MAX_RELEASE
    assert agreed.release.isascii() and agreed.release.isprintable() and "<" not in agreed.release
    if said == "1.2.3":
        assert agreed.release == said


def test_a_release_that_says_nothing_of_itself_and_one_that_speaks_otherwise() -> None:
    assert answered(lambda rogue: pack(msgspec.structs.astuple(rogue.hello())[:-1])) == ""
    initiator = Initiator(ALICE, 11, ephemeral())
    rogue = Rogue(init_of(initiator.first()))
    with pytest.raises(HandshakeRefused) as refusal:
        initiator.on_response(rogue.answer(pack(msgspec.structs.replace(rogue.hello(), version=7))))
    assert refusal.value.speaker == (BOB.node, 7)


HELLO = pack(Hello(1, BOB.certificate, bytes(70), 0, 0, None, "release"))


@given(st.binary(max_size=200))
@example(HELLO.replace(b"release", b"\xff" * 7))
@example(b"\x98" + HELLO[1:] + b"\x91" * 3000 + b"\xc0")
def test_random_payloads_are_refused(payload: bytes) -> None:
    assert answered(lambda rogue: payload) == "payload"
    assert finished(payload) == "payload"


def test_a_reflected_payload_is_refused() -> None:
    """Bob's own words, sent back to him as the initiator's, even with the very same hash."""
    noise = Handshake(True, X25519PrivateKey.generate(), ephemeral())
    responder = Responder(ALICE, 22, ephemeral())
    response = response_of(responder.on_init(wire.Init(11, b"", noise.write_message(b"")), padded=False))
    reflected = noise.read_message(response.noise)
    finish = wire.Finish(22, noise.write_message(reflected))
    assert reason(lambda: responder.on_finish(finish)) == "signature"


@settings(max_examples=60)
@given(st.data())
def test_altered_responses_raise_only_handshake_refused(data: st.DataObject) -> None:
    initiator, _, response = begin()
    position = data.draw(st.integers(0, 500))
    altered = bytearray(response.noise)
    altered[position % len(altered)] ^= data.draw(st.integers(1, 255))
    assert reason(lambda: initiator.on_response(dataclasses.replace(response, noise=bytes(altered)))) == "noise"


@settings(max_examples=60)
@given(st.binary(min_size=32, max_size=200))
def test_random_inits_and_finishes_raise_only_handshake_refused(noise: bytes) -> None:
    responder = Responder(BOB, 22, ephemeral())
    try:
        responder.on_init(wire.Init(1, b"", noise), padded=False)
    except HandshakeRefused as refusal:
        assert refusal.reason == "noise"
        return
    assert reason(lambda: responder.on_finish(wire.Finish(22, noise))) == "noise"


def test_a_key_of_low_order_is_refused_and_the_responder_lives_on() -> None:
    responder = Responder(BOB, 22, ephemeral())
    assert reason(lambda: responder.on_init(wire.Init(1, b"", bytes(32)), padded=False)) == "noise"
    response_of(responder.on_init(init_of(Initiator(ALICE, 11, ephemeral()).first(1200))))


def test_signing_needs_no_randomness() -> None:
    assert BOB.key.sign(b"twice", module._SIGNATURE) == BOB.key.sign(b"twice", module._SIGNATURE)


def test_membership_is_bound_to_key_session_and_side() -> None:
    at_alice, at_bob = handshake(ALICE, BOB)
    key = os.urandom(32)
    proof = make_proof(key, at_alice.handshake_hash, by_initiator=True)
    assert len(proof) == PROOF_SIZE
    assert check_proof(proof, key, at_bob.handshake_hash, by_initiator=True)
    assert not check_proof(proof, key, at_bob.handshake_hash, by_initiator=False)
    assert not check_proof(proof, os.urandom(32), at_bob.handshake_hash, by_initiator=True)
    other, _ = handshake(ALICE, BOB)
    assert not check_proof(proof, key, other.handshake_hash, by_initiator=True)
    assert not check_proof(proof[:-1], key, at_bob.handshake_hash, by_initiator=True)
    with pytest.raises(ValueError, match="namespace key of 5 bytes, expected 32"):
        make_proof(b"short", at_alice.handshake_hash, by_initiator=True)
