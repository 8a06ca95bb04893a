"""In an authority's namespace the directory's answer is what the authority says, whatever storers answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from benchmarks.overlay_net.growing import Overlay
from benchmarks.overlay_net.members import NAMESPACE_KEY, Kind, Recipe, cheap_certificate
from benchmarks.overlay_net.scenarios import liars, new_network
from benchmarks.overlay_net.thin import Network
from ipop_core.identity import CERTIFICATE_FILE, Identity, load_or_create, node_of
from ipop_modules.topology.protocol.profile import MAX_CERTIFICATE
from ipop_modules.topology.protocol.readers import SHORT
from ipop_modules.topology.protocol.records import address_key
from ipop_modules.topology.vouching import own_certificate, vouching
from tests.authority.makers import Authority, self_signed
from tests.topology.rings import address, look_up, ring

TEN = bytes([192, 168, 10, 10])
TWENTY = bytes([192, 168, 10, 20])


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return load_or_create(tmp_path)


def test_the_authority_decides_who_has_an_address(identity: Identity) -> None:
    town, other = Authority(), Authority()
    node = identity.node
    der = town.member(identity.key, "192.168.10.10").public_bytes(Encoding.DER)
    vouches = vouching([town.certificate])
    assert vouches(der, node, TEN)
    assert not vouches(der, node, TWENTY)
    assert not vouches(der, node_of(other.key.public_key()), TEN)
    assert not vouching([other.certificate])(der, node, TEN)
    assert not vouches(self_signed(identity.key, "192.168.10.10").public_bytes(Encoding.DER), node, TEN)
    assert not vouches(b"", node, TEN)
    assert not vouches(der[:-1], node, TEN)


def test_a_node_shows_the_certificate_that_lies_in_its_folder_now(identity: Identity) -> None:
    assert own_certificate(identity) == b""
    for addresses in (["192.168.10.10"], ["192.168.10.10", "fd00::10"]):
        certificate = Authority().member(identity.key, *addresses)
        (identity.folder / CERTIFICATE_FILE).write_bytes(certificate.public_bytes(Encoding.PEM))
        assert own_certificate(identity) == certificate.public_bytes(Encoding.DER)
    (identity.folder / CERTIFICATE_FILE).write_text("garbage")
    assert own_certificate(identity) == b""


def test_a_certificate_with_many_addresses_fits_into_a_record(identity: Identity) -> None:
    addresses = [f"192.168.10.{last}" for last in range(10, 18)] + [f"fd00::{last}" for last in range(10, 18)]
    assert len(Authority().member(identity.key, *addresses).public_bytes(Encoding.DER)) <= MAX_CERTIFICATE


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["secret", "authority"])
def test_storers_that_name_themselves_are_not_believed(kind: Kind) -> None:
    overlay = Overlay(new_network(7, kind=kind))
    overlay.grow(24)
    figures = liars(overlay, part=0.25, asked=200, newcomers=4)
    print(figures)
    assert figures[f"liars_{kind}_wrong"] == 0
    missed = figures[f"liars_{kind}_absent"] + figures[f"liars_{kind}_unanswered"]  # type: ignore[operator]
    assert missed < figures[f"liars_{kind}_asked"] / 2  # type: ignore[operator]


def test_who_comes_after_a_squatter_whose_record_fills_the_short_answer_is_found() -> None:
    """The reader, a stranger to the storer, gets the squatter's record alone at first, and asks for the rest."""
    network = Network(8, recipe=Recipe(kind="authority"))
    nodes = ring(network, 16)
    squatter, owner = nodes[3], nodes[9]
    registrations = squatter.machine.registrations
    assert registrations
    registrations._owner = replace(registrations._owner, certificate=lambda: bytes(SHORT))
    network.claim(squatter, address(60))
    network.run(3.0)
    network.claim(owner, address(60))
    network.run(3.0)
    key = address_key(NAMESPACE_KEY, address(60))
    storers = [node for node in nodes if node.machine.storage.store.get("one", key, network.now)]
    first = {node.machine.storage.store.get("one", key, network.now)[0].record.owner for node in storers}
    assert first == {squatter.id}
    for asker in nodes:
        if asker not in (squatter, owner):
            assert look_up(network, asker, address(60)).node == owner.id


def test_without_an_authority_they_are() -> None:
    overlay = Overlay(new_network(7, kind="open"))
    overlay.grow(24)
    assert liars(overlay, part=0.25, asked=200, newcomers=4)["liars_open_wrong"] != 0


@pytest.mark.parametrize("kind", ["authority", "secret"])
def test_an_answer_shows_the_certificate_that_it_comes_from(kind: Kind) -> None:
    network = Network(4, recipe=Recipe(kind=kind))
    nodes = ring(network, 8)
    asker, owner = nodes[0], nodes[4]
    found = look_up(network, asker, address(5))
    network.resolve(asker, address(5))
    for answer in (found, asker.resolved[-1]):
        assert answer.node == owner.id
        assert answer.certificate == (cheap_certificate(owner.id) if kind == "authority" else b"")
    assert asker.resolved[-1].source == "cache"
