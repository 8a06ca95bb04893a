from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.tincan.card.protocol import arp, local, ndp

from .packets import ALICE4, ALICE6, ALICE_MAC, BOB4, BOB6, UDP, ethernet, ip4, ip6, udp


def kind(frame: bytes) -> int:
    return local.classify(memoryview(bytes(8) + frame + b"beyond"), 8, 8 + len(frame))


def test_kinds() -> None:
    v4 = ethernet(ip4(udp(b"x"), UDP))
    v6 = ethernet(ip6(udp(b"x"), UDP))
    assert kind(v4) == local.UNICAST
    assert kind(v6) == local.UNICAST
    assert kind(ethernet(ip6(b"\x80\0" + bytes(6), 58))) == local.UNICAST
    assert kind(b"\xff" * 6 + v4[6:]) == local.GROUP
    assert kind(b"\x33\x33" + v6[2:]) == local.GROUP
    assert kind(arp.request(ALICE_MAC, ALICE4, BOB4)) == local.QUESTION
    assert kind(ndp.solicitation(ALICE_MAC, ALICE6, BOB6)) == local.QUESTION
    assert kind(ethernet(bytes(4), ethertype=0x88CC)) == local.OTHER
    assert kind(v4[:13]) == local.OTHER


@given(st.binary(max_size=80), st.sampled_from([b"\x08\x00", b"\x86\xdd", b"\x08\x06", b""]))
def test_never_raises(data: bytes, ethertype: bytes) -> None:
    frame = bytes(12) + ethertype + data
    assert local.classify(memoryview(frame), 0, len(frame)) in range(4)
