import pytest

from ipop_modules.tincan.card.protocol import ethernet

from .packets import ALICE, ALICE_MAC, BOB, BOB_MAC


def test_a_node_s_mac_is_local_and_unicast() -> None:
    assert ethernet.mac_of(ALICE) == ALICE_MAC
    assert ethernet.mac_of(BOB) == BOB_MAC
    for first in range(256):
        mac = ethernet.mac_of(bytes([first]) + bytes(19))
        assert mac[0] & 0x03 == 0x02


@pytest.mark.parametrize("size", [0, 6, 19, 21])
def test_a_node_id_has_twenty_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="20 bytes"):
        ethernet.mac_of(bytes(size))
