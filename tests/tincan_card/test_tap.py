"""The TAP alone: made, taken over, refused; what its frames look like on the way in and out."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from fcntl import ioctl
from pathlib import Path

import pytest

from ipop_modules.tincan import frames
from ipop_modules.tincan.card import netlink
from ipop_modules.tincan.card.errors import CardError
from ipop_modules.tincan.card.opening import open_card
from ipop_modules.tincan.card.protocol import ndp, segment
from ipop_modules.tincan.card.protocol.ethernet import mac_of
from ipop_modules.tincan.card.settings import CardSettings
from ipop_modules.tincan.card.tap import Tap
from ipop_modules.tincan.link.protocol.block import Buffer

from .conftest import Host
from .namespace import Namespace
from .packets import ALICE, ALICE4, ALICE_MAC, BOB, BOB4, BOB_MAC, TCP, UDP, ethernet, ip4, ip6, tcp, udp
from .packets import with_partial_checksum as partial

pytestmark = pytest.mark.net

NamespaceMaker = Callable[[], Namespace]
HostMaker = Callable[[bytes, int], Host]
SETTINGS = CardSettings.parse({"address": ["192.168.10.10/24", "fd00::10/64"]})
UDP_SEGMENT = 103

HOLDER = """
import socket, sys, time
from ipop_modules.tincan.card.netlink import bring_up
from ipop_modules.tincan.card.opening import open_card
from ipop_modules.tincan.card.settings import CardSettings
settings = CardSettings.parse({"address": ["192.168.10.10/24", "fd00::10/64"]})
card = open_card(settings, settings.interfaces, bytes(range(1, 21)), time.monotonic)
bring_up(card.name, card.mac, settings.interfaces)
with socket.socket(fileno=int(sys.argv[1])) as channel:
    socket.send_fds(channel, [b"!"], [card.fileno()])
    time.sleep(60)
"""


def opened(settings: CardSettings, node: bytes, clock: Callable[[], float], descriptor: int | None = None) -> Tap:
    """A card as tincan has it once its node has registered."""
    card = open_card(settings, settings.interfaces, node, clock, descriptor)
    assert isinstance(card, Tap)
    try:
        netlink.bring_up(card.name, card.mac, settings.interfaces)
    except CardError:
        card.close()
        raise
    return card


def wait_for(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 3
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def read_udp(card: Tap) -> tuple[int, int, bytes]:
    """The next frame that is UDP to port 5000: offload, size, frame."""
    buffer = memoryview(bytearray(frames.FRAME_HEADER_SIZE + frames.MAX_FRAME))
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        select.select([card], [], [], 1)
        while filled := card.read(buffer):
            kind, offload, size, length = frames.FRAME_HEADER.unpack_from(buffer)
            frame = bytes(buffer[frames.FRAME_HEADER_SIZE : filled])
            assert (kind, length) == (frames.CARD, len(frame))
            if frame[12:14] == b"\x08\x00" and frame[36:38] == struct.pack("!H", 5000):
                return offload, size, frame
    pytest.fail("no UDP frame was read")


def udp_socket(inside: Namespace, port: int) -> socket.socket:
    made = inside.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    made.bind(("192.168.10.10", port))
    made.settimeout(3)
    return made


def test_a_card_is_made_with_all_that_it_needs(host: HostMaker) -> None:
    inside, port = host(ALICE, 10)
    (link,) = inside.ip("-d", "link", "show", "tapipop")
    assert link["address"] == ALICE_MAC.hex(":")
    assert (link["mtu"], link["txqlen"]) == (1500, 1000)
    assert link["linkinfo"]["info_data"]["multi_queue"]
    assert link["linkinfo"]["info_data"]["persist"]
    assert inside.carrier("tapipop")
    own = socket.inet_ntop(socket.AF_INET6, ndp.link_local_of(ALICE_MAC))
    assert inside.addresses("tapipop") == {"192.168.10.10/24", "fd00::10/64", f"{own}/64"}
    (shown,) = inside.ip("addr", "show", "tapipop")
    assert not any(entry.get("tentative") for entry in shown["addr_info"])
    assert isinstance(port.card, Tap)
    assert port.card.offloads[:2] == ("checksum", "tcp")


def test_tcp_is_told_to_send_segments_that_fit_one_datagram(namespace: NamespaceMaker) -> None:
    for mtu, advised in ((1500, {"192.168.10.0/24": 1340, "fd00::/64": 1320}), (9000, {}), (1380, {})):
        inside = namespace()
        settings = CardSettings.parse({"address": ["192.168.10.10/24", "fd00::10/64"], "mtu": mtu})
        card = inside.run(lambda settings=settings: opened(settings, ALICE, time.monotonic))
        inside.run(lambda card=card: netlink.bring_up(card.name, card.mac, SETTINGS.interfaces))
        try:
            routes = [
                *inside.ip("route", "show", "dev", "tapipop"),
                *inside.ip("-6", "route", "show", "dev", "tapipop"),
            ]
            told = {route["dst"]: route["metrics"][0]["advmss"] for route in routes if "metrics" in route}
            assert told == advised
            assert [route["prefsrc"] for route in routes if "prefsrc" in route] == ["192.168.10.10"]
            assert {"192.168.10.0/24", "fd00::/64"} <= {route["dst"] for route in routes}
        finally:
            card.close()


def test_routes_of_other_cards_stay_as_they_are(namespace: NamespaceMaker) -> None:
    inside = namespace()
    inside.ip("link", "add", "name", "uplink", "type", "veth", "peer", "name", "far")
    for card in ("uplink", "far"):
        inside.ip("link", "set", card, "up")
    inside.ip("address", "add", "192.168.10.99/24", "dev", "uplink")
    inside.ip("address", "add", "fd00::99/64", "dev", "uplink", "nodad")
    assert wait_for(lambda: len(inside.ip("-6", "route", "show", "dev", "uplink")) == 2)

    def routes() -> list[object]:
        return [*inside.ip("route", "show", "dev", "uplink"), *inside.ip("-6", "route", "show", "dev", "uplink")]

    before = routes()
    made = inside.run(lambda: opened(SETTINGS, ALICE, time.monotonic))
    try:
        inside.run(lambda: netlink.bring_up(made.name, made.mac, SETTINGS.interfaces))
        assert routes() == before
    finally:
        made.close()


def test_after_a_frame_that_came_alone_no_empty_read_is_tried(host: HostMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, port = host(ALICE, 10)
    card = port.card
    assert isinstance(card, Tap)
    inside.ip("neigh", "add", "192.168.10.20", "lladdr", BOB_MAC.hex(":"), "dev", "tapipop")
    inside.run(lambda: Path("/proc/sys/net/ipv6/conf/tapipop/disable_ipv6").write_text("1"))  # it sends by itself
    buffer = memoryview(bytearray(4 * (frames.FRAME_HEADER_SIZE + frames.MAX_FRAME)))
    while select.select([card], [], [], 0.5)[0]:
        card.read(buffer)
    with udp_socket(inside, 4000) as sender:
        for waiting in (1, 3):
            for _ in range(waiting):
                sender.sendto(bytes(100), ("192.168.10.20", 5000))
            reads: list[int] = []
            readv = os.readv
            with monkeypatch.context() as patch:
                patch.setattr(os, "readv", lambda *what: reads.append(1) or readv(*what))  # noqa: B023
                filled = card.read(buffer)
                end, left = card.read_more(buffer, 0, filled, 60_000)
            assert (end, left) == (waiting * filled, frames.NOTHING_WAITS)
            assert len(reads) == (1 if waiting == 1 else waiting + 1)


def test_reading_puts_the_frame_header_before_the_frame(host: HostMaker) -> None:
    inside, port = host(ALICE, 10)
    assert isinstance(port.card, Tap)
    inside.ip("neigh", "add", "192.168.10.20", "lladdr", BOB_MAC.hex(":"), "dev", "tapipop")
    with udp_socket(inside, 4000) as sender:
        sender.sendto(b"deadbeef", ("192.168.10.20", 5000))
        offload, size, frame = read_udp(port.card)
        assert (offload, size) == (frames.CHECKSUM_NEEDED, 0)
        assert frame[:14] == BOB_MAC + ALICE_MAC + b"\x08\x00"
        assert frame[26:34] == ALICE4 + BOB4
        assert frame[42:] == b"deadbeef"
        if "udp" in port.card.offloads:
            sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
            sender.sendto(bytes(3500), ("192.168.10.20", 5000))
            offload, size, frame = read_udp(port.card)
            assert (offload, size) == (frames.SEGMENT_UDP | frames.CHECKSUM_NEEDED, 1000)
            assert len(frame) == 42 + 3500


def one_by_one(card: Tap) -> list[bytes]:
    """All frames that wait, headers and all."""
    buffer = memoryview(bytearray(frames.FRAME_HEADER_SIZE + frames.MAX_FRAME))
    found = []
    while filled := card.read(buffer):
        found.append(bytes(buffer[:filled]))
    return found


def in_runs(card: Tap, limit: int) -> tuple[list[bytes], list[int]]:
    """The same, with frames that are alike in one go; and how many came in each."""
    buffer = memoryview(bytearray(limit + frames.FRAME_HEADER_SIZE + frames.MAX_FRAME))
    found: list[bytes] = []
    runs: list[int] = []
    ahead = 0
    while filled := (card.read(buffer) if ahead <= 0 else ahead):
        end, ahead = card.read_more(buffer, 0, filled, limit)
        assert end <= max(limit, filled)
        runs.append(end // filled)
        found += [bytes(buffer[start : start + filled]) for start in range(0, end, filled)]
        if ahead > 0:
            buffer[:ahead] = bytes(buffer[end : end + ahead])
        elif ahead == frames.NOTHING_WAITS:
            break
    return found, runs


def without_counts(frame: bytes) -> bytes:
    """Without what the kernel makes anew for every packet: identification and header checksum."""
    return frame[:26] + frame[28:32] + frame[34:]


def test_frames_that_are_alike_are_read_in_one_go_and_others_as_ever(host: HostMaker) -> None:
    inside, port = host(ALICE, 10)
    assert isinstance(port.card, Tap)
    # What the kernel says of its own there would come in between.
    subprocess.run(inside.command("sysctl", "-qw", "net.ipv6.conf.tapipop.disable_ipv6=1"), check=True)
    for address, mac in (("192.168.10.20", BOB_MAC), ("192.168.10.30", bytes([2, 9, 9, 9, 9, 9]))):
        inside.ip("neigh", "add", address, "lladdr", mac.hex(":"), "dev", "tapipop")
    with udp_socket(inside, 4000) as sender:

        def send(count: int, size: int, address: str = "192.168.10.20") -> None:
            for number in range(count):
                sender.sendto(bytes([number]) * size, (address, 5000))

        def everything() -> None:
            send(5, 1200)
            send(1, 700)
            send(3, 1200)
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 9)
            send(2, 1200)
            send(2, 1200, "192.168.10.30")
            sender.setsockopt(socket.IPPROTO_IP, 10, 0)  # IP_MTU_DISCOVER: fragments, please
            send(2, 4000)
            send(2, 1458)
            sender.setsockopt(socket.SOL_SOCKET, 11, 1)  # SO_NO_CHECK
            send(3, 1200)
            for level, option, value in ((socket.SOL_SOCKET, 11, 0), (socket.IPPROTO_IP, 10, 1)):
                sender.setsockopt(level, option, value)
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 64)

        one_by_one(port.card)
        everything()
        expected = [without_counts(frame) for frame in one_by_one(port.card)]
        everything()
        found, runs = in_runs(port.card, 62_000)
        assert [without_counts(frame) for frame in found] == expected
        assert runs[:5] == [5, 1, 3, 2, 2]
        assert len(expected) > sum(runs[:5]) + 6
        everything()
        found, runs = in_runs(port.card, 4 * 1250)
        assert [without_counts(frame) for frame in found] == expected
        assert runs[:3] == [4, 1, 1]


@pytest.mark.parametrize("offloads", [("checksum", "tcp", "udp"), ("checksum", "tcp")], ids=["kernel", "software"])
def test_a_super_frame_arrives_as_the_same_datagrams(host: HostMaker, offloads: tuple[str, ...]) -> None:
    """The kernel's segmentation and ours must agree."""
    inside, port = host(ALICE, 10)
    assert isinstance(port.card, Tap)
    if not set(offloads) <= set(port.card.offloads):
        pytest.skip("this kernel has no UDP segmentation on a TAP")
    port.card.offloads = offloads
    payload = os.urandom(20_500)
    frame = partial(ethernet(ip4(udp(payload), UDP)))
    ours = segment.segments(1000, memoryview(frame)) or []
    with udp_socket(inside, 5000) as receiver:
        assert port.card.write(frames.SEGMENT_UDP | frames.CHECKSUM_NEEDED, 1000, memoryview(frame))
        got = [receiver.recv(65536) for _ in range(21)]
    assert got == [one[42:] for one in ours]
    assert b"".join(got) == payload
    assert port.card.counters["write_segmented"] == ("udp" not in offloads)


@pytest.mark.parametrize(
    ("size", "payload", "kernel", "software"),
    [(1000, 64_000, 1, 64), (500, 64_000, 2, 128), (100, 6401, 2, 65), (1, 128, 2, 0), (1, 64, 1, 0)],
)
def test_what_one_super_frame_costs_in_writes(
    host: HostMaker, monkeypatch: pytest.MonkeyPatch, size: int, payload: int, kernel: int, software: int
) -> None:
    """A peer says how long the segments are: 128 bytes must not cost 128 writes."""
    inside, port = host(ALICE, 10)
    assert isinstance(port.card, Tap)
    if "udp" not in port.card.offloads:
        pytest.skip("this kernel has no UDP segmentation on a TAP")
    writes = 0
    writev = os.writev

    def counted(descriptor: int, buffers: Sequence[Buffer]) -> int:
        nonlocal writes
        writes += 1
        return writev(descriptor, buffers)

    monkeypatch.setattr(os, "writev", counted)
    sent = os.urandom(payload)
    frame = memoryview(partial(ethernet(ip4(udp(sent), UDP))))
    datagrams = [sent[at : at + size] for at in range(0, payload, size)]
    with udp_socket(inside, 5000) as receiver:
        assert port.card.write(frames.SEGMENT_UDP | frames.CHECKSUM_NEEDED, size, frame)
        assert [receiver.recv(65536) for _ in datagrams] == datagrams
        assert (writes, dict(port.card.counters)) == (kernel, {})
        port.card.offloads = ("checksum", "tcp")
        writes = 0
        assert port.card.write(frames.SEGMENT_UDP | frames.CHECKSUM_NEEDED, size, frame) == bool(software)
        assert writes == software
        assert dict(port.card.counters) == {"write_segmented" if software else "write_refused": 1}
        if software:
            assert [receiver.recv(65536) for _ in datagrams] == datagrams
        receiver.setblocking(False)
        with pytest.raises(BlockingIOError):
            receiver.recv(65536)


@pytest.mark.parametrize("version", [4, 6])
def test_a_train_of_datagrams_arrives_as_what_it_was_made_of(host: HostMaker, version: int) -> None:
    inside, port = host(ALICE, 10)
    assert isinstance(port.card, Tap)
    if "udp" not in port.card.offloads:
        pytest.skip("this kernel has no UDP segmentation on a TAP")
    payloads = [struct.pack("!I", number) + bytes(1196) for number in range(50)]
    packet = ip4 if version == 4 else ip6
    whole = [partial(ethernet(packet(udp(payload), UDP))) for payload in payloads]
    run = b"".join(frames.FRAME_HEADER.pack(frames.CARD, 0x10, 0, len(frame)) + frame for frame in whole)
    family, address = (socket.AF_INET, "0.0.0.0") if version == 4 else (socket.AF_INET6, "::")
    with inside.run(lambda: socket.socket(family, socket.SOCK_DGRAM)) as receiver:
        receiver.bind((address, 5000))
        receiver.settimeout(5)
        asked: list[bytes] = []
        assert port.card.write_train(memoryview(run), lambda frame: asked.append(bytes(frame)) or "refused") == 0
        assert asked == whole[:1]
        assert port.card.write_train(memoryview(run), lambda _frame: "") == len(run)
        assert [receiver.recv(2000) for _ in payloads] == payloads
        receiver.setblocking(False)
        with pytest.raises(BlockingIOError):
            receiver.recv(2000)
    port.card.offloads = ("checksum", "tcp")
    assert port.card.write_train(memoryview(run), lambda _frame: "") == 0
    inside.ip("link", "set", "tapipop", "down")
    port.card.offloads = ("checksum", "tcp", "udp")
    assert port.card.write_train(memoryview(run), lambda _frame: "") == 0


@pytest.mark.parametrize("version", [4, 6])
def test_segments_of_a_stream_that_come_in_one_turn_reach_the_kernel_as_one(host: HostMaker, version: int) -> None:
    inside, port = host(ALICE, 10)
    card = port.card
    assert isinstance(card, Tap)
    packet = ip4 if version == 4 else ip6
    pieces = [bytes([number]) * 1000 for number in range(10)]
    segments = [
        partial(ethernet(packet(tcp(piece, sequence=1000 + 1000 * number), TCP))) for number, piece in enumerate(pieces)
    ]
    headers = len(segments[0]) - 1000

    def written(*frames_of_a_turn: bytes) -> None:
        card.gather()
        assert all(card.write(0x10, 0, memoryview(frame)) for frame in frames_of_a_turn)

    with inside.run(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))) as heard:
        heard.bind(("tapipop", 0))
        heard.settimeout(5)

        def next_segment() -> bytes:
            while True:
                frame = heard.recv(65_536)
                if frame[:14] == segments[0][:14] and frame[headers - 20 :][:4] == segments[0][headers - 20 :][:4]:
                    return frame

        written(*segments)
        card.flush()
        assert next_segment()[headers:] == b"".join(pieces)
        assert card.counters["write_streams"] == 1
        written(*segments[:3], *segments[5:])
        card.flush()
        assert [next_segment()[headers:] for _ in range(2)] == [b"".join(pieces[:3]), b"".join(pieces[5:])]
        written(segments[0])
        assert card.write(0x10, 0, memoryview(segments[2])), "no place to hold it: the first one goes"
        assert next_segment() == segments[0]
        card.flush()
        assert next_segment() == segments[2]
        assert card.write(0x10, 0, memoryview(segments[0])), "not in a turn"
        assert next_segment() == segments[0]
    assert dict(card.counters) == {"write_streams": 3}


def test_a_checksum_that_is_wrong_is_dropped_and_a_partial_one_is_not(host: HostMaker) -> None:
    inside, port = host(ALICE, 10)
    wrong, right = (partial(ethernet(ip4(udp(payload), UDP))) for payload in (b"wrong", b"right"))
    with udp_socket(inside, 5000) as receiver:
        assert port.card.write(0, 0, memoryview(wrong))
        assert port.card.write(frames.CHECKSUM_NEEDED, 0, memoryview(right))
        assert receiver.recv(100) == b"right"


def test_drops_are_counted_by_cause(host: HostMaker) -> None:
    inside, port = host(ALICE, 10)
    assert isinstance(port.card, Tap)
    frame = memoryview(ethernet(ip4(tcp(b"x" * 4000), TCP)))
    assert not port.card.write(0x12, 1000, frame)
    assert port.card.counters["write_refused"] == 1
    inside.ip("link", "set", "tapipop", "down")
    assert not port.card.write(0, 0, frame)
    assert port.card.counters["write_card_down"] == 1


def test_a_removed_card_is_an_error_on_reading(host: HostMaker) -> None:
    inside, port = host(ALICE, 10)
    assert inside.run(lambda: netlink.remove("tapipop"))
    assert not inside.run(lambda: netlink.remove("tapipop"))
    assert not port.card.write(0, 0, memoryview(ethernet(ip4(udp(b""), UDP))))
    with pytest.raises(frames.CardGone, match="bad state"):
        port.card.read(memoryview(bytearray(70_000)))


def test_a_kept_descriptor_that_is_no_card_of_ours_is_closed(namespace: NamespaceMaker) -> None:
    kept, other = os.pipe()
    card = namespace().run(lambda: opened(SETTINGS, ALICE, time.monotonic, kept))
    card.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(kept)
    os.close(other)
    inside = namespace()

    def plain() -> int:
        descriptor = os.open("/dev/net/tun", os.O_RDWR)
        ioctl(descriptor, 0x400454CA, struct.pack("16sH22x", b"tapipop", 0x0002 | 0x1000))
        return descriptor

    kept = inside.run(plain)
    with pytest.raises(CardError, match="not one of ours"):
        inside.run(lambda: opened(SETTINGS, ALICE, time.monotonic, kept))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(kept)


def test_a_held_card_is_refused_and_a_left_one_taken_over(host: HostMaker) -> None:
    inside, port = host(ALICE, 10)
    with pytest.raises(CardError, match="in use by another process"):
        inside.run(lambda: Tap.open("tapipop", ALICE_MAC))
    port.card.close()
    assert not inside.carrier("tapipop")
    inside.ip("addr", "add", "10.9.9.9/24", "dev", "tapipop")
    inside.ip("route", "add", "10.8.0.0/16", "via", "192.168.10.20")
    card = inside.run(lambda: opened(SETTINGS, ALICE, time.monotonic))
    assert isinstance(card, Tap)
    assert wait_for(lambda: inside.carrier("tapipop"))
    assert "10.9.9.9/24" not in inside.addresses("tapipop")
    assert {"192.168.10.10/24", "fd00::10/64"} < inside.addresses("tapipop")
    assert any(route["dst"] == "10.8.0.0/16" for route in inside.ip("route"))
    card.close()


def test_another_identity_changes_the_link_local_address_too(host: HostMaker) -> None:
    inside, port = host(ALICE, 10)
    port.card.close()
    card = inside.run(lambda: opened(SETTINGS, BOB, time.monotonic))
    assert isinstance(card, Tap)
    own = socket.inet_ntop(socket.AF_INET6, ndp.link_local_of(BOB_MAC))
    assert inside.addresses("tapipop") == {"192.168.10.10/24", "fd00::10/64", f"{own}/64"}
    card.close()


def test_a_name_taken_by_something_else_is_refused(namespace: NamespaceMaker) -> None:
    inside = namespace()
    inside.ip("tuntap", "add", "tapipop", "mode", "tap")
    with pytest.raises(CardError, match='"tapipop" is taken by another kind of card'):
        inside.run(lambda: Tap.open("tapipop", ALICE_MAC))
    inside.ip("link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
    inside.ip("link", "set", "veth0", "up")
    with pytest.raises(CardError, match='"veth0"'):
        inside.run(lambda: Tap.open("veth0", ALICE_MAC))


def test_a_read_only_proc_does_no_harm(host: HostMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink, "_SYSCTL", {"no/such/key": "0"})
    inside, _ = host(ALICE, 10)
    (shown,) = inside.ip("addr", "show", "tapipop")
    assert not any(entry.get("tentative") for entry in shown["addr_info"] if entry["local"] == "fd00::10")


def test_a_card_without_ipv6(namespace: NamespaceMaker) -> None:
    inside = namespace()
    subprocess.run(inside.command("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"), check=True)
    with pytest.raises(CardError, match='card "tapipop" cannot be brought up: IPv6 is switched off'):
        inside.run(lambda: opened(SETTINGS, ALICE, time.monotonic))
    only4 = CardSettings.parse({"address": "192.168.10.10/24"})
    card = inside.run(lambda: opened(only4, ALICE, time.monotonic))
    assert isinstance(card, Tap)
    assert inside.addresses("tapipop") == {"192.168.10.10/24"}
    card.close()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (FileNotFoundError(), "is missing: load the module"),
        (PermissionError(), "run as root"),
        (OSError(19, "No such device"), "No such device"),
    ],
)
def test_a_machine_without_tun_is_told_so(monkeypatch: pytest.MonkeyPatch, error: OSError, text: str) -> None:
    def refuse(*_: object) -> int:
        raise error

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(CardError, match=text):
        Tap.open("tapipop", ALICE_MAC)


@pytest.mark.parametrize("keeps_a_duplicate", [True, False], ids=["duplicate kept", "control: none kept"])
def test_a_killed_holder(namespace: NamespaceMaker, keeps_a_duplicate: bool) -> None:
    """With a duplicate elsewhere carrier, addresses, routes and neighbours stay; without one the carrier goes."""
    inside = namespace()
    ours, theirs = socket.socketpair()
    command = inside.command(sys.executable, "-c", HOLDER, str(theirs.fileno()))
    with ours, theirs, subprocess.Popen(command, pass_fds=[theirs.fileno()]) as holder:
        _, (descriptor,), _, _ = socket.recv_fds(ours, 1, 1)
        if not keeps_a_duplicate:
            os.close(descriptor)
        assert wait_for(lambda: inside.carrier("tapipop"))
        inside.ip("neigh", "add", "192.168.10.20", "lladdr", BOB_MAC.hex(":"), "dev", "tapipop", "nud", "reachable")
        before = inside.addresses("tapipop"), inside.ip("route")
        holder.send_signal(signal.SIGKILL)
    if not keeps_a_duplicate:
        assert wait_for(lambda: not inside.carrier("tapipop"))
        return
    assert inside.carrier("tapipop")
    assert (inside.addresses("tapipop"), inside.ip("route")) == before
    assert [entry["dst"] for entry in inside.ip("neigh", "show", "dev", "tapipop", "nud", "reachable")] == [
        "192.168.10.20"
    ]
    card = inside.run(lambda: opened(SETTINGS, ALICE, time.monotonic, descriptor))
    assert isinstance(card, Tap)
    assert card.mac == mac_of(ALICE)
    with udp_socket(inside, 4000) as sender:
        sender.sendto(b"still here", ("192.168.10.20", 5000))
        assert read_udp(card)[2][42:] == b"still here"
    card.close()


def test_a_kept_descriptor_of_a_removed_card_makes_a_new_one(host: HostMaker) -> None:
    inside, port = host(ALICE, 10)
    kept = os.dup(port.card.fileno())
    inside.run(lambda: netlink.remove("tapipop"))
    card = inside.run(lambda: opened(SETTINGS, ALICE, time.monotonic, kept))
    assert isinstance(card, Tap)
    assert inside.carrier("tapipop")
    card.close()
