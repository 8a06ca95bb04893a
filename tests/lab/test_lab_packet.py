from __future__ import annotations

from socket import IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP, inet_aton
from struct import pack

from hypothesis import given
from hypothesis import strategies as st

from ipop_core.lab.packet import ETHERTYPE_IPV4, ETHERTYPE_IPV6, parse_packet

UDP = pack("!HHHH", 1000, 2000, 8 + 5, 0) + b"hello"


def ipv4(protocol: int, body: bytes, *, options: bytes = b"", fragment: int = 0) -> bytes:
    words = 5 + len(options) // 4
    fixed = pack("!BBHHHBBH", 0x40 | words, 0, words * 4 + len(body), 0, fragment, 64, protocol, 0)
    return fixed + inet_aton("203.0.113.2") + inet_aton("203.0.113.3") + options + body


def ipv6(next_header: int, body: bytes) -> bytes:
    addresses = bytes.fromhex("20010db8" + "00" * 11 + "02") + bytes.fromhex("20010db8" + "00" * 11 + "03")
    return pack("!IHBB", 0x60000000, len(body), next_header, 64) + addresses + body


def test_a_udp_datagram_over_ipv4_with_options() -> None:
    raw = ipv4(IPPROTO_UDP, UDP, options=bytes(8))
    packet = parse_packet(raw, ETHERTYPE_IPV4, 12.5, 2.5)

    assert (packet.source, packet.source_port) == ("203.0.113.2", 1000)
    assert (packet.destination, packet.destination_port) == ("203.0.113.3", 2000)
    assert packet.payload == b"hello"
    assert packet.is_udp
    assert (packet.time, packet.monotonic, packet.length) == (12.5, 2.5, len(raw))


def test_a_udp_datagram_over_ipv6() -> None:
    packet = parse_packet(ipv6(IPPROTO_UDP, UDP), ETHERTYPE_IPV6, 0, 0)

    assert (packet.source, packet.source_port) == ("2001:db8::2", 1000)
    assert (packet.destination, packet.destination_port) == ("2001:db8::3", 2000)
    assert packet.payload == b"hello"


def test_the_second_fragment_has_no_ports() -> None:
    first = parse_packet(ipv4(IPPROTO_UDP, UDP, fragment=0x2000), ETHERTYPE_IPV4, 0, 0)
    second = parse_packet(ipv4(IPPROTO_UDP, UDP, fragment=0x0001), ETHERTYPE_IPV4, 0, 0)

    assert (first.source_port, first.payload) == (1000, b"hello")
    assert (second.source_port, second.destination_port, second.payload) == (0, 0, UDP)


def test_other_protocols_keep_what_ip_carries() -> None:
    ping = parse_packet(ipv4(IPPROTO_ICMP, UDP), ETHERTYPE_IPV4, 0, 0)
    tcp = parse_packet(ipv4(IPPROTO_TCP, UDP), ETHERTYPE_IPV4, 0, 0)

    assert (ping.source_port, ping.payload, ping.is_udp) == (0, UDP, False)
    assert (tcp.source_port, tcp.payload, tcp.is_udp) == (1000, UDP, False)


def test_what_is_not_ip_is_kept_whole() -> None:
    packet = parse_packet(b"who has", 0x0806, 0, 0)

    assert (packet.protocol, packet.source, packet.destination) == (-1, "", "")
    assert packet.payload == packet.raw == b"who has"


@given(st.binary(max_size=128), st.sampled_from([ETHERTYPE_IPV4, ETHERTYPE_IPV6, 0x0806]))
def test_any_bytes_are_read(raw: bytes, ethertype: int) -> None:
    assert parse_packet(raw, ethertype, 0, 0).raw == raw


@given(st.binary(max_size=64), st.sampled_from([0x40, 0x41, 0x45, 0x4F]))
def test_any_ipv4_body_is_read(body: bytes, first: int) -> None:
    raw = bytes([first]) + ipv4(IPPROTO_UDP, body)[1:]
    assert parse_packet(raw, ETHERTYPE_IPV4, 0, 0).protocol == IPPROTO_UDP
