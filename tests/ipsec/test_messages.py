"""What comes from the kernel and from charon: anything at all must do no harm."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.ipsec.associations import is_under_way, read_associations
from ipop_modules.ipsec.connections import Terms, connection, connection_name, peer_of, prepared_peers
from ipop_modules.ipsec.policies import PROTECT
from ipop_modules.ipsec.xfrm_messages import split

PREFIX = "ipop-4a5b6c7d"
NAMES = st.sampled_from([f"{PREFIX}-10.0.0.1", "other", PREFIX])
FACTS = st.dictionaries(st.sampled_from(["state", "established", "bytes-in", "uniqueid"]), st.binary(max_size=8))
SAS = st.builds(lambda facts, children: facts | {"child-sas": children}, FACTS, st.dictionaries(st.text(), FACTS))


@given(st.binary(max_size=200))
def test_any_datagram_splits_into_messages_that_lie_in_it(data: bytes) -> None:
    messages = list(split(data))
    assert sum(len(message) for _, message in messages) <= len(data)
    assert all(len(message) >= 16 for _, message in messages)


def test_two_messages_in_one_datagram() -> None:
    one = (17).to_bytes(4, "little") + (5).to_bytes(2, "little") + bytes(11)
    two = (16).to_bytes(4, "little") + (6).to_bytes(2, "little") + bytes(10)
    assert list(split(one + bytes(3) + two)) == [(5, one), (6, two)]


@given(st.lists(st.dictionaries(NAMES, SAS, max_size=2), max_size=3))
def test_any_answer_of_charon_can_be_read(answers: list[dict[str, Any]]) -> None:
    found = read_associations(PREFIX, answers)
    assert {association.peer for association in found} <= {"10.0.0.1"}


def test_of_several_with_one_peer_the_one_that_protects_counts() -> None:
    child = {"state": b"INSTALLED", "uniqueid": b"3", "bytes-in": b"10", "packets-in": b"1", "rekey-time": b"30"}
    dead = {"state": b"CONNECTING", "child-sas": {}}
    alive = {"state": b"ESTABLISHED", "child-sas": {"esp-1": {"state": b"DELETED"}, "esp-3": child}}
    name = connection_name(PREFIX, ip_address("fd00::1"))
    for answers in ([{name: dead}, {name: alive}], [{name: alive}, {name: dead}]):
        (association,) = read_associations(PREFIX, answers)
        assert (association.peer, association.state) == ("fd00::1", "protected")
        assert (association.bytes_in, association.packets_in, association.rekey_in_s) == (10, 1, 30)


def test_a_connection_is_for_one_peer_under_its_own_name_alone() -> None:
    told = connection(Terms(tag=9, rekey=60), ip_address("10.0.0.1"), ip_address("10.0.0.2"))
    assert told["remote_addrs"] == [told["remote"]["id"]] == ["10.0.0.2"]
    assert told["children"]["esp"]["priority"] < PROTECT
    assert told["children"]["esp"]["reqid"] == 9
    assert peer_of(PREFIX, connection_name(PREFIX, ip_address("10.0.0.2"))) == "10.0.0.2"
    assert peer_of(PREFIX, "ipop-00000000-10.0.0.2") is None


def test_a_small_subnet_is_prepared_whole_and_a_large_one_not_at_all() -> None:
    assert len(list(prepared_peers(ip_interface("192.168.10.10/24")))) == 253
    assert list(prepared_peers(ip_interface("fd00::1/64"))) == []


@pytest.mark.parametrize(
    ("sa", "expected"),
    [
        ({"state": b"CONNECTING"}, True),
        ({"state": b"ESTABLISHED"}, False),
        ({"state": b"ESTABLISHED", "tasks-queued": [b"CHILD_CREATE"]}, True),
        ({"state": b"ESTABLISHED", "child-sas": {"esp-1": {"state": b"INSTALLED", "spi-out": b"0000beef"}}}, True),
        ({"state": b"ESTABLISHED", "child-sas": {"esp-1": {"state": b"INSTALLED", "spi-out": b"0000dead"}}}, False),
        ({"state": b"ESTABLISHED", "child-sas": {"esp-1": {"state": b"INSTALLING"}}}, True),
        ({"state": b"DELETING"}, False),
    ],
)
def test_keys_are_asked_for_where_the_kernel_has_none_and_none_are_coming(sa: dict[str, Any], expected: bool) -> None:
    assert is_under_way([{"ipop-192.168.10.20": sa}], {0xBEEF}) is expected
