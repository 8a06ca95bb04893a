from __future__ import annotations

from ipaddress import ip_address, ip_interface

from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.tincan.card.protocol import arp, ndp, neighbours
from ipop_modules.tincan.card.protocol.neighbours import Neighbours, Reply, Resolve

from .packets import ALICE, ALICE4, ALICE6, ALICE_MAC, BOB, BOB4, BOB6, BOB_MAC

CAROL = bytes(range(50, 70))
CAROL_MAC = bytes([50, 51, 52, 53, 54, 55])
ASK = arp.request(ALICE_MAC, ALICE4, BOB4)
ASK6 = ndp.solicitation(ALICE_MAC, ALICE6, BOB6)
ANSWER = Reply(arp.reply(BOB_MAC, BOB4, ALICE_MAC, ALICE4))
ANSWER6 = Reply(ndp.advertisement(BOB_MAC, BOB6, ALICE_MAC, ALICE6))


def alice() -> Neighbours:
    return Neighbours(ALICE, [ip_interface("192.168.10.10/24"), ip_interface("fd00::10/64")])


def numbered(number: int) -> bytes:
    return ip_address("192.168.10.0").packed[:2] + (10 * 256 + number).to_bytes(2, "big")


def test_the_first_question_is_looked_up_and_then_answered() -> None:
    table = alice()
    assert table.receive(ASK, 0.0) == [Resolve(BOB4)]
    assert table.receive(ASK, 1.0) == [], "one lookup at a time"
    assert table.node_of_mac(BOB_MAC) is None
    assert table.resolved(BOB4, BOB, 1.2) == [ANSWER]
    assert table.node_of_mac(BOB_MAC) == BOB
    assert table.owner(BOB4) == BOB
    assert table.receive(ASK, 30.0) == [ANSWER]
    assert table.next_wake() is None


def test_the_same_for_ipv6() -> None:
    table = alice()
    assert table.receive(ASK6, 0.0) == [Resolve(BOB6)]
    assert table.resolved(BOB6, BOB, 0.1) == [ANSWER6]
    assert table.receive(ASK6, 1.0) == [ANSWER6]


def test_everybody_who_waits_is_answered() -> None:
    table = alice()
    probe = arp.request(CAROL_MAC, bytes(4), BOB4)
    table.receive(ASK, 0.0)
    table.receive(probe, 0.1)
    answers = table.resolved(BOB4, BOB, 0.2)
    assert len(answers) == 2
    assert ANSWER in answers
    assert Reply(arp.reply(BOB_MAC, BOB4, CAROL_MAC, bytes(4))) in answers


def test_own_addresses_are_never_answered() -> None:
    table = alice()
    table.learn(ALICE4, BOB, 0.0)
    own = ndp.link_local_of(ALICE_MAC)
    for frame in (
        arp.request(ALICE_MAC, bytes(4), ALICE4),
        arp.request(ALICE_MAC, ALICE4, ALICE4),
        ndp.solicitation(ALICE_MAC, own, ALICE6),
        ndp.solicitation(ALICE_MAC, ALICE6, own),
    ):
        assert table.receive(frame, 0.0) == []


def test_announcements_are_no_questions() -> None:
    table = alice()
    table.learn(BOB4, BOB, 0.0)
    assert table.receive(arp.request(BOB_MAC, BOB4, BOB4), 0.0) == []
    assert table.receive(arp.reply(ALICE_MAC, ALICE4, BOB_MAC, BOB4), 0.0) == []
    assert table.receive(ndp.advertisement(ALICE_MAC, ALICE6, BOB_MAC, BOB6), 0.0) == []


def test_outside_the_subnets_nobody_is_asked() -> None:
    table = alice()
    for address in ("192.168.11.20", "10.0.0.1"):
        assert table.receive(arp.request(ALICE_MAC, ALICE4, ip_address(address).packed), 0.0) == []
    assert table.receive(ndp.solicitation(ALICE_MAC, ALICE6, ip_address("fd01::1").packed), 0.0) == []
    assert table.counters["outside"] == 3
    assert table.resolved(ip_address("10.0.0.1").packed, BOB, 0.0) == []
    assert table.entries() == []


def test_link_local_addresses_follow_the_mac() -> None:
    table = alice()
    ask = ndp.solicitation(ALICE_MAC, ndp.link_local_of(ALICE_MAC), ndp.link_local_of(BOB_MAC))
    assert table.receive(ask, 0.0) == []
    table.learn(BOB4, BOB, 0.0)
    (answer,) = table.receive(ask, 0.0)
    message = ndp.parse(answer.frame) if isinstance(answer, Reply) else None
    assert message == ndp.Message(ndp.ADVERTISEMENT, ndp.link_local_of(BOB_MAC), ndp.link_local_of(BOB_MAC), BOB_MAC)


def test_nobody_is_remembered_for_less_than_the_kernel_takes_to_ask_again() -> None:
    table = alice()
    table.receive(ASK, 0.0)
    assert table.resolved(BOB4, None, 0.1, certain=True) == []
    assert table.receive(ASK, 0.8) == []
    assert table.receive(ASK, 1.0) == [Resolve(BOB4)]


def test_uncertain_answers_are_asked_again_while_the_kernel_waits() -> None:
    table = alice()
    table.receive(ASK, 0.0)
    assert table.resolved(BOB4, None, 0.1) == []
    wake = table.next_wake()
    assert wake is not None
    assert 0.1 < wake < 1.0
    assert table.wake(wake) == [Resolve(BOB4)]
    assert table.wake(wake) == [], "the second answer is awaited"
    assert table.resolved(BOB4, BOB, 0.6) == [ANSWER]


def test_a_lookup_is_given_up_before_the_kernel_does() -> None:
    table = alice()
    table.receive(ASK, 10.0)
    assert table.next_wake() == 12.5
    assert table.wake(12.4) == []
    assert table.wake(12.5) == []
    assert table.next_wake() is None
    assert table.counters["unanswered"] == 1
    assert table.receive(ASK, 13.0) == [Resolve(BOB4)]


def test_a_late_answer_still_counts() -> None:
    table = alice()
    table.receive(ASK, 0.0)
    table.wake(2.5)
    assert table.resolved(BOB4, BOB, 2.6) == []
    assert table.receive(ASK, 3.0) == [ANSWER]


def test_old_entries_are_served_while_they_are_confirmed_again() -> None:
    table = alice()
    table.learn(BOB4, BOB, 0.0)
    assert table.receive(ASK, 59.0) == [ANSWER]
    assert table.receive(ASK, 60.0) == [ANSWER, Resolve(BOB4)]
    assert table.receive(ASK, 60.5) == [ANSWER]
    assert table.resolved(BOB4, BOB, 61.0) == []
    assert table.receive(ASK, 100.0) == [ANSWER]


def test_a_dead_directory_changes_nothing() -> None:
    table = alice()
    table.learn(BOB4, BOB, 0.0)
    asked = 0
    for second in range(60, 660):
        effects = table.receive(ASK, float(second))
        assert effects[0] == ANSWER
        asked += len(effects) - 1
        table.wake(float(second))
    assert asked == 120, "once in five seconds"
    table.resolved(BOB4, None, 660.0)
    assert table.receive(ASK, 661.0)[0] == ANSWER


def test_a_new_owner_is_announced() -> None:
    table = alice()
    table.learn(BOB4, BOB, 0.0)
    assert table.receive(ASK, 60.0) == [ANSWER, Resolve(BOB4)]
    assert table.resolved(BOB4, CAROL, 60.1) == [Reply(arp.reply(CAROL_MAC, BOB4, ALICE_MAC, ALICE4))]
    assert table.node_of_mac(BOB_MAC) is None
    assert table.node_of_mac(CAROL_MAC) == CAROL


def test_a_vanished_owner_is_removed() -> None:
    table = alice()
    table.learn(BOB4, BOB, 0.0)
    table.receive(ASK, 60.0)
    assert table.resolved(BOB4, None, 60.1, certain=True) == []
    assert table.owner(BOB4) is None
    assert table.node_of_mac(BOB_MAC) is None
    assert table.receive(ASK, 60.5) == []


def test_a_node_keeps_its_mac_until_its_last_address_goes() -> None:
    table = alice()
    table.learn(BOB4, BOB, 0.0)
    table.learn(BOB6, BOB, 0.0)
    table.resolved(BOB4, None, 1.0, certain=True)
    assert table.node_of_mac(BOB_MAC) == BOB
    table.resolved(BOB6, None, 1.0, certain=True)
    assert table.node_of_mac(BOB_MAC) is None


def test_learned_owners_answer_who_waits() -> None:
    table = alice()
    table.receive(ASK, 0.0)
    assert table.learn(BOB4, BOB, 0.1) == [ANSWER]
    assert table.receive(ASK, 0.2) == [ANSWER]


def test_of_two_nodes_with_one_mac_the_first_keeps_it() -> None:
    table = alice()
    twin = BOB[:6] + bytes(14)
    table.learn(BOB4, BOB, 0.0)
    assert table.learn(numbered(30), twin, 0.0) == []
    assert table.owner(numbered(30)) is None
    assert table.learn(numbered(31), ALICE[:6] + bytes(14), 0.0) == []
    assert table.node_of_mac(BOB_MAC) == BOB
    assert table.counters["mac_collisions"] == 2


def test_our_own_id_is_no_answer() -> None:
    table = alice()
    table.receive(ASK, 0.0)
    assert table.resolved(BOB4, ALICE, 0.1) == []
    assert table.owner(BOB4) is None
    assert table.next_wake() is None, "the lookup is over"


def test_lookups_are_bounded() -> None:
    table = Neighbours(ALICE, [ip_interface("10.0.0.1/8")])
    for number in range(neighbours.MAXIMUM_LOOKUPS + 3):
        table.receive(arp.request(ALICE_MAC, b"\x0a\0\0\1", b"\x0a\1" + number.to_bytes(2, "big")), 0.0)
    assert table.counters["too_many_lookups"] == 3
    table.wake(2.5)
    assert table.counters["unanswered"] == neighbours.MAXIMUM_LOOKUPS


def test_the_table_is_bounded_and_the_oldest_makes_room() -> None:
    table = Neighbours(ALICE, [ip_interface("10.0.0.1/8")])
    for number in range(neighbours.MAXIMUM_ENTRIES + 2):
        table.learn(b"\x0a" + (number + 2).to_bytes(3, "big"), BOB, 0.0)
    assert len(table.entries()) == neighbours.MAXIMUM_ENTRIES
    assert table.owner(b"\x0a\0\0\2") is None
    assert table.owner(b"\x0a\0\0\4") == BOB


def test_negatives_are_bounded() -> None:
    table = Neighbours(ALICE, [ip_interface("10.0.0.1/8")])
    for number in range(neighbours.MAXIMUM_NEGATIVES + 1):
        table.resolved(b"\x0a\1" + number.to_bytes(2, "big"), None, 0.0, certain=True)
    first, last = (arp.request(ALICE_MAC, b"\x0a\0\0\1", b"\x0a\1" + n.to_bytes(2, "big")) for n in (0, 1024))
    assert table.receive(first, 0.5) != []
    assert table.receive(last, 0.5) == []


def test_entries_survive_a_restart() -> None:
    before = alice()
    before.learn(BOB4, BOB, 0.0)
    before.learn(BOB6, BOB, 0.0)
    after = alice()
    after.restore([*before.entries(), (ALICE4, BOB), (b"\x0a\0\0\1", BOB)], 100.0)
    assert after.entries() == [(BOB4, BOB), (BOB6, BOB)]
    assert after.node_of_mac(BOB_MAC) == BOB
    assert after.receive(ASK, 100.0) == [ANSWER, Resolve(BOB4)], "served at once, and confirmed again"


ADDRESSES = st.sampled_from([BOB4, BOB6, numbered(30), numbered(31), ALICE4])
NODES = st.sampled_from([BOB, CAROL, BOB[:6] + bytes(14), ALICE, None])
STEPS = st.lists(
    st.tuples(st.sampled_from(["ask", "resolved", "learn", "wake"]), ADDRESSES, NODES, st.booleans(), st.floats(0, 40)),
    max_size=40,
)


@given(STEPS)
def test_tables_agree_whatever_happens(steps: list[tuple[str, bytes, bytes | None, bool, float]]) -> None:
    table, now = alice(), 0.0
    for kind, address, node, certain, pause in steps:
        now += pause
        if kind == "ask":
            is_v4 = len(address) == 4
            ask = arp.request(ALICE_MAC, ALICE4, address) if is_v4 else ndp.solicitation(ALICE_MAC, ALICE6, address)
            table.receive(ask, now)
        elif kind == "resolved":
            table.resolved(address, node, now, certain=certain)
        elif kind == "learn" and node is not None:
            table.learn(address, node, now)
        else:
            table.wake(now)
            assert (table.next_wake() or now + 1) > now
        macs = {table.node_of_mac(mac) for mac in (BOB_MAC, CAROL_MAC)} - {None}
        assert macs == {node for _, node in table.entries()}
        assert ALICE4 not in dict(table.entries())


@given(st.binary(max_size=100))
def test_random_frames_ask_nothing(frame: bytes) -> None:
    assert alice().receive(frame, 0.0) == []
