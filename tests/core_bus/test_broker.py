from typing import Any

import pytest

from ipop_core.bus.broker import MAX_GUESTS, MAX_PENDING, MAX_TOPICS, Broker, Deliveries, Delivery
from ipop_core.bus.envelope import Envelope, encode, pack, unpack, unpack_fault

LINK, TOPOLOGY, GUEST = b"l", b"t", b"g"


@pytest.fixture
def broker() -> Broker:
    broker = Broker()
    for client, name, role in ((LINK, "tincan", "link"), (TOPOLOGY, "topology", "topology")):
        broker.admit(client, name, role)
        say(broker, client, to="core", action="hello", id=1)
    return broker


def say(broker: Broker, client: bytes, now: float = 0.0, **fields: Any) -> Deliveries:
    fields.setdefault("kind", "request")
    body = pack(fields.pop("body", {}))
    return broker.receive(client, encode(Envelope(**fields, body=body)), now)


def ask(broker: Broker, client: bytes, to: str = "link", now: float = 0.0, *, number: int = 5) -> Delivery:
    [delivery] = say(broker, client, now, to=to, action="status", id=number, deadline=1000)
    return delivery


def fault(deliveries: Deliveries) -> tuple[bytes, int, str]:
    [delivery] = deliveries
    assert delivery.envelope.kind == "error"
    return delivery.client, delivery.envelope.id, unpack_fault(delivery.envelope).code


def test_a_request_goes_to_its_role_and_the_answer_back(broker: Broker) -> None:
    request = ask(broker, TOPOLOGY)
    assert (request.client, request.envelope.sender, request.envelope.action) == (LINK, "topology", "status")
    [answer] = say(broker, LINK, kind="response", id=request.envelope.id, body={"card": 1})
    assert (answer.client, answer.envelope.id, answer.envelope.sender) == (TOPOLOGY, 5, "tincan")
    assert unpack(answer.envelope) == {"card": 1}


def test_nobody_can_claim_to_be_somebody_else(broker: Broker) -> None:
    [request] = say(broker, GUEST, to="link", action="status", id=1, deadline=9, sender="topology")
    assert request.envelope.sender == "guest-1"


def test_an_answer_counts_only_from_whom_it_was_asked_of(broker: Broker) -> None:
    request = ask(broker, GUEST)
    assert say(broker, TOPOLOGY, kind="response", id=request.envelope.id) == []
    assert broker.counters.stray_answers == 1
    assert len(say(broker, LINK, kind="response", id=request.envelope.id)) == 1
    assert say(broker, LINK, kind="response", id=request.envelope.id) == []


def test_a_role_that_nobody_fills(broker: Broker) -> None:
    assert fault(say(broker, GUEST, to="crypto", action="status", id=3, deadline=9)) == (GUEST, 3, "no-role")
    assert say(broker, GUEST, to="crypto", action="status") == []
    assert broker.counters.no_role == 1


def test_a_module_fills_its_role_from_its_hello_on() -> None:
    broker = Broker()
    broker.admit(LINK, "tincan", "link")
    assert fault(say(broker, GUEST, to="link", action="status", id=3, deadline=9))[2] == "no-role"
    say(broker, LINK, to="core", action="hello", id=1)
    assert ask(broker, GUEST).client == LINK


def test_a_guest_fills_no_role(broker: Broker) -> None:
    assert fault(say(broker, GUEST, to="core", action="hello", id=3)) == (GUEST, 3, "refused")


def test_a_deadline_passes(broker: Broker) -> None:
    request = ask(broker, GUEST, now=10.0)
    assert broker.next_wake() == 11.0
    assert broker.wake(10.9) == []
    assert fault(broker.wake(11.0)) == (GUEST, 5, "timeout")
    assert broker.next_wake() is None
    assert say(broker, LINK, kind="response", id=request.envelope.id) == []


def test_a_module_that_ends_fails_what_waits_for_it(broker: Broker) -> None:
    ask(broker, GUEST)
    assert fault(broker.leave(LINK)) == (GUEST, 5, "failed")
    assert fault(say(broker, GUEST, to="link", action="status", id=6, deadline=9))[2] == "no-role"


def test_a_requester_that_ends_is_forgotten(broker: Broker) -> None:
    request = ask(broker, GUEST)
    assert broker.leave(GUEST) == []
    assert say(broker, LINK, kind="response", id=request.envelope.id) == []


def test_a_restarted_module_takes_its_role_and_the_old_one_leaves_without_harm(broker: Broker) -> None:
    broker.admit(b"l2", "tincan", "link")
    say(broker, b"l2", to="core", action="hello", id=1)
    broker.leave(LINK)
    assert ask(broker, GUEST).client == b"l2"


@pytest.mark.parametrize(("topic", "heard"), [("link.up", True), ("link.*", True), ("link.down", False)])
def test_events_go_to_their_subscribers(broker: Broker, topic: str, heard: bool) -> None:
    say(broker, GUEST, to="core", action="subscribe", id=1, body={"topic": topic})
    deliveries = say(broker, LINK, kind="event", topic="link.up", sender="liar", body={"a": 1})
    assert [(delivery.client, delivery.envelope.sender) for delivery in deliveries] == [(GUEST, "tincan")] * heard


def test_a_subscription_that_is_cancelled(broker: Broker) -> None:
    say(broker, GUEST, to="core", action="subscribe", id=1, body={"topic": "link.up"})
    say(broker, GUEST, to="core", action="unsubscribe", id=2, body={"topic": "link.up"})
    assert say(broker, LINK, kind="event", topic="link.up") == []


@pytest.mark.parametrize("publisher", [GUEST, TOPOLOGY])
def test_events_of_another_role_are_refused(broker: Broker, publisher: bytes) -> None:
    say(broker, GUEST, to="core", action="subscribe", id=1, body={"topic": "link.*"})
    assert say(broker, publisher, kind="event", topic="link.up") == []
    assert broker.counters.refused_events == 1


@pytest.mark.parametrize("body", [{}, {"topic": 5}, {"topic": "link"}, {"topic": "*.up"}, {"topic": "link.up", "x": 1}])
def test_a_subscription_that_makes_no_sense(broker: Broker, body: dict[str, Any]) -> None:
    assert fault(say(broker, GUEST, to="core", action="subscribe", id=1, body=body)) == (GUEST, 1, "invalid")


def test_bounds(broker: Broker) -> None:
    for number in range(MAX_PENDING):
        ask(broker, GUEST, number=number + 1)
    assert fault([ask(broker, GUEST)]) == (GUEST, 5, "busy")
    broker.wake(1.0)
    assert ask(broker, GUEST).client == LINK
    for number in range(MAX_TOPICS):
        say(broker, GUEST, to="core", action="subscribe", id=1, body={"topic": f"link.t{number}"})
    assert fault(say(broker, GUEST, to="core", action="subscribe", id=1, body={"topic": "link.x"}))[2] == "busy"


def test_the_oldest_guest_makes_room(broker: Broker) -> None:
    say(broker, GUEST, to="core", action="subscribe", id=1, body={"topic": "link.up"})
    for number in range(MAX_GUESTS):
        ask(broker, f"g{number}".encode())
    assert say(broker, LINK, kind="event", topic="link.up") == []
    assert ask(broker, TOPOLOGY).client == LINK


def test_a_full_queue_is_told_and_counted(broker: Broker) -> None:
    assert fault(broker.undelivered(ask(broker, GUEST))) == (GUEST, 5, "busy")
    assert broker.undelivered(Delivery(GUEST, Envelope(kind="event", topic="link.up"))) == []
    assert broker.counters.queue_full == 2
