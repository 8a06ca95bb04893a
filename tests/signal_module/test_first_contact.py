from hypothesis import given
from hypothesis import strategies as st

from ipop_modules.signal.protocol.backoff import backoff
from ipop_modules.signal.protocol.bootstrap import parse_bootstrap
from ipop_modules.signal.protocol.contact import (
    CONFIRM_AFTER,
    LINKS_WANTED,
    STABLE_AFTER,
    TRIALS_AT_ONCE,
    Confirm,
    Contact,
    Dial,
    Effect,
    FirstContact,
    Release,
)

OWN, A, B, C = ("00" * 20, "aa" * 20, "bb" * 20, "cc" * 20)


def contact(*names: str) -> FirstContact:
    return FirstContact(OWN, [parse_bootstrap(name) for name in names], now=0.0)


def asked(effects: list[Effect]) -> list[str]:
    return [effect.name for effect in effects if isinstance(effect, Confirm)] + dialled(effects)


def dialled(effects: list[Effect]) -> list[str]:
    return [effect.bootstrap.name for effect in effects if isinstance(effect, Dial)]


def states(machine: FirstContact) -> dict[str, str]:
    return {bootstrap.name: bootstrap.state for bootstrap in machine.bootstraps}


def test_three_are_tried_at_once_and_the_next_when_one_fails() -> None:
    machine = contact("a", "b", "c", "d")
    assert machine.next_wake() == 0.0
    assert dialled(machine.wake(0.0)) == ["a", "b", "c"]
    assert machine.next_wake() is None
    machine.failed("b", "no answer", 1.0, 0.0)
    assert dialled(machine.wake(1.0)) == ["d"]


def test_two_links_are_enough_and_a_third_is_let_go() -> None:
    machine = contact("a", "b", "c", "d")
    machine.wake(0.0)
    assert machine.connected("a", A, 1.0) == [Contact("a", "connected", A, None)]
    machine.connected("b", B, 1.0)
    assert machine.connected("c", C, 1.1) == [Release(C)]
    assert states(machine) == {"a": "connected", "b": "connected", "c": "waiting", "d": "waiting"}
    assert dialled(machine.wake(5.0)) == []


def test_one_of_two_names_that_moves_to_a_third_node_is_let_go() -> None:
    machine = contact("a", "b", "c")
    machine.wake(0.0)
    machine.connected("a", B, 0.0)
    machine.connected("c", B, 0.0)
    machine.connected("b", C, 0.0)
    assert asked(machine.wake(CONFIRM_AFTER)) == ["a", "b", "c"]
    assert machine.connected("a", A, CONFIRM_AFTER) == [Release(A)]
    assert states(machine) == {"a": "waiting", "b": "connected", "c": "connected"}


def test_two_names_of_one_node_count_as_one_link() -> None:
    machine = contact("a", "b", "c")
    machine.wake(0.0)
    machine.connected("a", A, 1.0)
    machine.connected("b", A, 1.0)
    assert machine.connected("c", C, 1.0) == [Contact("c", "connected", C, None)]


def test_a_link_that_is_needed_is_not_let_go_when_a_third_name_leads_to_it() -> None:
    machine = contact("a", "b", "c")
    machine.wake(0.0)
    machine.connected("a", A, 1.0)
    machine.connected("b", B, 1.0)
    assert machine.connected("c", A, 1.0) == [Contact("c", "connected", A, None)]


def test_a_lost_link_is_tried_again() -> None:
    machine = contact("a")
    machine.wake(0.0)
    machine.connected("a", A, 1.0)
    assert machine.link_down(B, "closed", 99.0, 0.0) == []
    assert machine.link_down(A, "no answer", 100.0, 0.0) == [Contact("a", "waiting", A, "link lost: no answer")]
    assert machine.next_wake() == 100.25
    assert dialled(machine.wake(100.25)) == ["a"]


def test_a_link_that_is_lost_at_once_makes_the_waits_longer() -> None:
    machine = contact("a")
    now, waits = 0.0, []
    for _ in range(9):
        machine.wake(now)
        machine.connected("a", A, now)
        machine.link_down(A, "closed", now, 0.0)
        waits.append((machine.next_wake() or 0) - now)
        now += waits[-1]
    assert waits == [0.25, 0.5, 1, 2, 4, 8, 16, 30, 30]
    machine.wake(now)
    machine.connected("a", A, now)
    machine.link_down(A, "closed", now + STABLE_AFTER, 0.0)
    assert machine.next_wake() == now + STABLE_AFTER + 0.25


def test_trials_go_on_for_ever() -> None:
    machine = contact("a")
    now = 0.0
    for _ in range(2000):
        assert dialled(machine.wake(now)) == ["a"]
        machine.failed("a", "no answer", now, 0.5)
        wake = machine.next_wake()
        assert wake is not None
        assert wake - now <= 30
        now = wake


def test_the_same_fault_is_told_once_and_a_new_one_again() -> None:
    machine = contact("a")
    told = []
    for now, fault in enumerate(["no answer", "no answer", "unknown name", "unknown name", "no answer"]):
        machine.wake(now * 100.0)
        told += machine.failed("a", fault, now * 100.0, 0.0)
    assert [effect.fault for effect in told if isinstance(effect, Contact)] == [
        "no answer",
        "unknown name",
        "no answer",
    ]
    assert machine.bootstraps[0].fault == "no answer"


def test_a_link_that_is_up_is_confirmed_without_a_word_and_mended_when_it_is_not() -> None:
    machine = contact("a")
    machine.wake(0.0)
    machine.connected("a", A, 1.0)
    assert machine.next_wake() == 1.0 + CONFIRM_AFTER
    assert machine.wake(1.0 + CONFIRM_AFTER) == [Confirm("a", A)]
    assert machine.next_wake() is None
    assert states(machine) == {"a": "connected"}
    assert machine.connected("a", A, 22.0) == []
    machine.wake(22.0 + CONFIRM_AFTER)
    assert machine.failed("a", "no module fills the role link", 43.0, 0.0) != []
    assert dialled(machine.wake(43.25)) == ["a"]


def test_another_node_behind_the_same_name_replaces_the_old_one() -> None:
    machine = contact("a")
    machine.wake(0.0)
    machine.connected("a", A, 1.0)
    machine.link_down(A, "no answer", 2.0, 0.0)
    machine.wake(3.0)
    assert machine.connected("a", B, 4.0) == [Release(A), Contact("a", "connected", B, None)]


def test_a_node_that_lists_itself_lets_itself_be() -> None:
    machine = contact(f"{OWN}@a", "b", "c")
    assert dialled(machine.wake(0.0)) == ["b", "c"]
    machine.is_self("b")
    assert machine.connected("c", OWN, 1.0) == []
    assert set(states(machine).values()) == {"self"}
    assert machine.next_wake() is None


def test_the_backoff_is_jittered_and_bounded() -> None:
    assert backoff(1, 0.0) == 0.25
    assert backoff(1, 0.5) == 0.1875
    assert backoff(10_000, 0.0) == 30.0


ANSWERS = st.tuples(st.sampled_from("abcde"), st.sampled_from([A, B, C, OWN, None]))


@given(st.lists(ANSWERS | st.sampled_from([A, B, C]) | st.floats(0, 40), max_size=60))
def test_whatever_happens_there_is_always_something_to_wait_for(
    story: list[tuple[str, str | None] | str | float],
) -> None:
    machine = contact(*"abcde")
    now = 0.0
    running: set[str] = set()
    for event in story:
        if isinstance(event, float):
            now += event
            running |= set(asked(machine.wake(now)))
        elif isinstance(event, str):
            machine.link_down(event, "closed", now, 0.5)
        elif event[0] in running:
            name, node = event
            running.discard(name)
            if node is None:
                machine.failed(name, "no answer", now, 0.5)
            else:
                machine.connected(name, node, now)
        trials = [bootstrap for bootstrap in machine.bootstraps if bootstrap.state == "connecting"]
        nodes = {bootstrap.node for bootstrap in machine.bootstraps if bootstrap.state == "connected"}
        assert len(trials) <= TRIALS_AT_ONCE
        assert len(nodes) <= LINKS_WANTED
        others = [bootstrap for bootstrap in machine.bootstraps if bootstrap.state != "self"]
        assert running or machine.next_wake() is not None or not others


def test_a_new_list_keeps_what_is_known_and_lets_go_of_the_rest() -> None:
    machine = contact("a", "b", "c")
    machine.wake(0.0)
    machine.connected("a", A, 0.1)
    machine.connected("b", B, 0.1)
    assert machine.replace([parse_bootstrap("b"), parse_bootstrap("d")], 1.0) == [Release(A)]
    assert states(machine) == {"b": "connected", "d": "waiting"}
    assert dialled(machine.wake(1.0)) == ["d"]


def test_answers_about_a_bootstrap_that_was_taken_out_do_no_harm() -> None:
    machine = contact("a", "b", "c")
    machine.wake(0.0)
    machine.replace([parse_bootstrap("d")], 0.1)
    assert machine.connected("a", A, 0.2) == [Release(A)]
    assert machine.failed("b", "no answer", 0.2, 0.5) == []
    machine.is_self("c")
    assert states(machine) == {"d": "waiting"}


def test_two_names_of_one_node_and_one_is_taken_out() -> None:
    machine = contact("a", "alias")
    machine.wake(0.0)
    machine.connected("a", A, 0.1)
    machine.connected("alias", A, 0.1)
    assert machine.replace([parse_bootstrap("alias")], 1.0) == []
    assert states(machine) == {"alias": "connected"}
