"""Direct paths under any order of probes, answers, silence and traffic."""

from __future__ import annotations

from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ipop_modules.tincan.link.protocol.path import (
    DEAD_AFTER,
    LATELY,
    MAX_PATHS,
    RELAY_SUSPECT_AFTER,
    SLOWEST,
    SUSPECT_AFTER,
    SUSPECT_INTERVAL,
    PathSet,
    State,
)

endpoints = st.integers(1, MAX_PATHS + 4).map(lambda port: ("10.0.0.1", port))


class Paths(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        tokens = count()
        self.paths = PathSet(lambda size: next(tokens).to_bytes(size))
        self.now = 100.0
        self.probes: list[tuple[tuple[str, int], bytes]] = []

    def known(self) -> list[tuple[str, int]]:
        return [path.endpoint for path in self.paths]

    @rule(endpoint=endpoints)
    def offered(self, endpoint: tuple[str, int]) -> None:
        self.paths.add(endpoint, self.now)

    @rule(start=st.integers(1, 5))
    def many_offered(self, start: int) -> None:
        for port in range(start, start + MAX_PATHS):
            self.paths.add(("10.0.0.1", port), self.now)

    @rule(endpoint=endpoints, rtt=st.none() | st.floats(0.001, 1.0))
    def handshake(self, endpoint: tuple[str, int], rtt: float | None) -> None:
        self.paths.establish(endpoint, rtt, self.now)
        assert self.paths.validated(endpoint)
        assert self.paths.active is not None

    @rule(seconds=st.floats(0.0, 70.0), keep=st.booleans())
    def time_passes(self, seconds: float, keep: bool) -> None:
        self.now += seconds
        probes = self.paths.wake(self.now, keep=keep)
        self.probes += probes
        assert {endpoint for endpoint, _ in probes} <= set(self.known())
        assert not self.paths.wake(self.now, keep=keep), "what was due is done"

    @precondition(lambda self: self.probes)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        endpoint, token = data.draw(st.sampled_from(self.probes[-20:]))
        if self.paths.answered(token, endpoint, self.now):
            assert self.paths.validated(endpoint)
            assert not self.paths.answered(token, endpoint, self.now), "an answer counts once"

    @rule(endpoint=endpoints, token=st.binary(min_size=8, max_size=8).map(lambda token: b"\xff" + token[1:]))
    def forged_answer(self, endpoint: tuple[str, int], token: bytes) -> None:
        validated = self.paths.validated(endpoint)
        assert not self.paths.answered(token, endpoint, self.now)
        assert self.paths.validated(endpoint) is validated

    @rule(endpoint=endpoints)
    def block_heard(self, endpoint: tuple[str, int]) -> None:
        validated = self.paths.validated(endpoint)
        self.paths.heard(endpoint, self.now)
        assert self.paths.validated(endpoint) is validated, "a block alone makes no path"

    @precondition(lambda self: self.paths.active is not None)
    @rule()
    def sent(self) -> None:
        active = self.paths.active
        assert active is not None
        if active.waiting_since is None:
            active.waiting_since = self.now

    @precondition(lambda self: self.paths.active is not None)
    @rule()
    def silence_kills_the_path_in_use(self) -> None:
        self.sent()
        dead = self.paths.active
        assert dead is not None
        assert dead.patience(self.now) <= SLOWEST
        for _ in range(int((dead.patience(self.now) + DEAD_AFTER) / SUSPECT_INTERVAL) + 2):
            self.now += SUSPECT_INTERVAL
            self.probes += self.paths.wake(self.now, keep=True)
        assert self.paths.active is not dead

    @invariant()
    def bounded(self) -> None:
        assert len(self.known()) <= MAX_PATHS

    @invariant()
    def the_path_in_use_is_known_and_was_proven(self) -> None:
        active = self.paths.active
        assert active is None or (active in list(self.paths) and active.state is not State.TRYING)

    @invariant()
    def there_is_something_to_wait_for(self) -> None:
        assert (self.paths.next_wake(keep=True) is None) == (not self.known())


TestPaths = Paths.TestCase
TestPaths.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_a_path_is_suspected_as_late_as_its_answers_have_come_lately() -> None:
    tokens = count()
    paths = PathSet(lambda size: next(tokens).to_bytes(size))
    endpoint = ("10.0.0.1", 1)
    now = 100.0
    paths.establish(endpoint, 0.01, now)
    path = paths.active
    assert path is not None

    def probe_takes(seconds: float) -> None:
        nonlocal now
        paths.ask()
        ((asked, token),) = paths.wake(now, keep=True)
        now += seconds
        assert paths.answered(token, asked, now)

    probe_takes(0.01)
    assert path.patience(now) == SUSPECT_AFTER
    path.relayed = now
    assert path.patience(now) == RELAY_SUSPECT_AFTER
    for _ in range(3):
        probe_takes(1.5)
    path.relayed = now
    assert 1.5 < path.patience(now) <= SLOWEST
    assert 1.5 < path.repeat(now) <= SLOWEST
    now += LATELY
    assert path.patience(now) < 1.5


def test_a_path_with_slow_answers_is_given_up_no_sooner_than_they_can_come() -> None:
    tokens = count()
    paths = PathSet(lambda size: next(tokens).to_bytes(size))
    endpoint = ("10.0.0.1", 1)
    paths.establish(endpoint, 0.01, 100.0)
    path = paths.active
    assert path is not None
    path.trip.took(2.4)
    path.measured = 100.0
    path.waiting_since = 100.0
    paths.wake(102.5, keep=True)
    paths.wake(105.1, keep=True)
    assert paths.active is path, "its second probe is on the way"
    paths.wake(106.0, keep=True)
    assert paths.active is None


def test_an_answer_that_came_after_all_patience_lengthens_it_no_further() -> None:
    paths = PathSet(bytes)
    endpoint = ("10.0.0.1", 1)
    paths.add(endpoint, 100.0)
    ((asked, token),) = paths.wake(100.0, keep=True)
    assert paths.answered(token, asked, 104.5)
    path = paths.active
    assert path is not None
    assert path.patience(104.5) == SLOWEST
