from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st
from noise.connection import Keypair, NoiseConnection

from ipop_modules.tincan.link.protocol.noise import Handshake, NoiseError

VECTORS = json.loads((Path(__file__).parent / "vectors" / "Noise_XX_25519_AESGCM_SHA256.json").read_text())
LOW_ORDER = [
    bytes(32),
    (1).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    (2**255 - 20).to_bytes(32, "little"),
]


def key(hexadecimal: str) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(bytes.fromhex(hexadecimal))


def pair(prologue: bytes = b"ipop 1") -> tuple[Handshake, Handshake]:
    new = X25519PrivateKey.generate
    return Handshake(True, new(), new(), prologue), Handshake(False, new(), new(), prologue)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["source"].split()[0])
def test_published_vectors(vector: dict[str, Any]) -> None:
    prologue = bytes.fromhex(vector["prologue"])
    alice = Handshake(True, key(vector["init_static"]), key(vector["init_ephemeral"]), prologue)
    bob = Handshake(False, key(vector["resp_static"]), key(vector["resp_ephemeral"]), prologue)
    messages = [(bytes.fromhex(m["payload"]), bytes.fromhex(m["ciphertext"])) for m in vector["messages"]]
    for index, (payload, ciphertext) in enumerate(messages[:3]):
        writer, reader = (alice, bob) if index % 2 == 0 else (bob, alice)
        assert writer.write_message(payload) == ciphertext
        assert reader.read_message(ciphertext) == payload
    assert alice.handshake_hash == bob.handshake_hash == bytes.fromhex(vector["handshake_hash"])
    assert alice.split() == bob.split()[::-1]
    for index, (payload, ciphertext) in enumerate(messages[3:]):
        sender = bob if index % 2 == 0 else alice
        nonce = (index // 2).to_bytes(12, "big")
        assert AESGCM(sender.split()[0]).encrypt(nonce, payload, None) == ciphertext


@pytest.mark.parametrize("ours_begins", [True, False])
def test_interoperates_with_noiseprotocol(ours_begins: bool) -> None:
    ours = Handshake(ours_begins, X25519PrivateKey.generate(), X25519PrivateKey.generate(), b"prologue")
    theirs = NoiseConnection.from_name(b"Noise_XX_25519_AESGCM_SHA256")
    theirs.set_prologue(b"prologue")
    theirs.set_keypair_from_private_bytes(Keypair.STATIC, X25519PrivateKey.generate().private_bytes_raw())
    theirs.set_as_responder() if ours_begins else theirs.set_as_initiator()
    theirs.start_handshake()
    for index in range(3):
        payload = bytes([index]) * (index + 3)
        if (index % 2 == 0) == ours_begins:
            assert theirs.read_message(ours.write_message(payload)) == payload
        else:
            assert ours.read_message(bytes(theirs.write_message(payload))) == payload
    send, receive = ours.split()
    assert theirs.get_handshake_hash() == ours.handshake_hash
    assert theirs.decrypt(AESGCM(send).encrypt(bytes(12), b"to them", None)) == b"to them"
    assert AESGCM(receive).decrypt(bytes(12), bytes(theirs.encrypt(b"to us")), None) == b"to us"


def test_both_sides_know_the_hash_before_a_payload() -> None:
    alice, bob = pair()
    bob.read_message(alice.write_message(b""))
    keys = bob.write_keys()
    before = bob.handshake_hash
    message = keys + bob.write_payload(b"signed over it")
    rest = alice.read_keys(message)
    assert alice.handshake_hash == before
    assert alice.read_payload(rest) == b"signed over it"


@pytest.mark.parametrize("public", LOW_ORDER, ids=["zero", "one", "order-8", "minus-one"])
def test_keys_of_low_order_are_refused(public: bytes) -> None:
    _, bob = pair()
    bob.read_message(public)
    with pytest.raises(NoiseError, match="low order"):
        bob.write_message(b"")
    alice, _ = pair()
    alice.write_message(b"")
    with pytest.raises(NoiseError, match="low order"):
        alice.read_message(public + bytes(64))


def test_messages_out_of_turn_are_refused() -> None:
    alice, bob = pair()
    with pytest.raises(NoiseError, match="turn"):
        alice.read_message(bytes(32))
    with pytest.raises(NoiseError, match="turn"):
        bob.write_message(b"")
    with pytest.raises(NoiseError, match="not finished"):
        alice.split()
    bob.read_message(alice.write_message(b""))
    alice.read_message(bob.write_message(b""))
    bob.read_message(alice.write_message(b""))
    with pytest.raises(NoiseError, match="turn"):
        alice.write_message(b"")
    with pytest.raises(NoiseError, match="turn"):
        bob.write_message(b"")


def test_another_prologue_does_not_decrypt() -> None:
    alice, _ = pair(b"ipop 1")
    _, bob = pair(b"ipop 2")
    bob.read_message(alice.write_message(b""))
    with pytest.raises(NoiseError, match="decrypt"):
        alice.read_message(bob.write_message(b""))


def test_a_copy_survives_a_forged_message() -> None:
    alice, bob = pair()
    bob.read_message(alice.write_message(b""))
    genuine = bob.write_message(b"genuine")
    with pytest.raises(NoiseError):
        alice.copy().read_message(genuine[:-1] + bytes([genuine[-1] ^ 1]))
    assert alice.copy().read_message(genuine) == b"genuine"
    assert alice.read_message(genuine) == b"genuine"


@given(st.data())
def test_altered_messages_raise_only_noise_error(data: st.DataObject) -> None:
    alice, bob = pair()
    bob.read_message(alice.write_message(b"padding"))
    message = bytearray(bob.write_message(b"payload"))
    position = data.draw(st.integers(0, len(message) - 1))
    message[position] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.one_of(st.just(len(message)), st.integers(0, len(message))))
    # The top bit of an X25519 public key is ignored by DH, but it is part of what is hashed.
    with pytest.raises(NoiseError):
        alice.read_message(bytes(message[:cut]))


@given(st.binary(max_size=300))
def test_random_messages_raise_only_noise_error(message: bytes) -> None:
    alice, bob = pair()
    alice.write_message(b"")
    with pytest.raises(NoiseError):
        alice.read_message(message)
    if len(message) < 32:
        with pytest.raises(NoiseError):
            bob.read_message(message)
