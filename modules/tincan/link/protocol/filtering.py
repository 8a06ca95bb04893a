"""How the NAT or firewall before this node filters, and whether it turns packets round: RFC 4787, sections 5 and 6.

A neighbour is asked to send from another port of its own, and members of the ring that this node has never sent
anything to are asked to send from theirs (`unasked.py`), from new ports as well: a NAT still lets in whom this node
talked to before it was restarted. What comes through, and what was sent and does not, tells the kind. A datagram to
this node's own outer address tells of hairpin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Final, TypeAlias

from . import control, wire
from .blocks import Blocks
from .events import FilteringKnown
from .mapping import Address
from .session import Session
from .source import Overlay, Source
from .state import State

NEIGHBOURS: Final = 2
STRANGERS: Final = 3
PATIENCE: Final = 2.5
"""Seconds for all answers; a stranger is greeted over the ring first."""
GRACE: Final = 0.5
"""Seconds that a datagram may arrive after the word, by another way, that it was sent."""
TOKEN: Final = 8


class Filtering(Enum):
    """Whose datagrams come in on a mapping."""

    UNKNOWN = "unknown"
    INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    DEPENDENT = "address-and-port-dependent"


@dataclass(slots=True)
class _Question:
    node: bytes
    is_neighbour: bool
    settled_at: float
    """When no more is waited for."""
    sent: bool = False
    came_from: bytes | None = None
    """The IP address, if the datagram came."""


Ask: TypeAlias = Callable[[bytes, control.AnyControl, float], None]
"""Sends (node, message, now), once there is a session with that node."""


class FilteringTest:
    """One node's test of what is in front of it. IPv4, where NATs are."""

    def __init__(self, state: State, blocks: Blocks, ask: Ask) -> None:
        self._state: Final = state
        self._blocks: Final = blocks
        self._ask: Final = ask
        self._questions: dict[bytes, _Question] = {}
        self._known: set[bytes] = set()
        """IP addresses that this node had sent to when the test began."""
        self._echo: bytes | None = None
        self._ends = inf
        self.hairpin: bool | None = None

    def begin(self, outer: Address | None, members: Iterable[bytes], now: float) -> None:
        """Ask; FilteringKnown follows. `outer` is this node's address as peers see it, `members` are of the ring."""
        state = self._state
        ours = [session for session in state.sessions.values() if session.direct and self._is_ipv4(session)]
        tried = [endpoint for session in state.sessions.values() for endpoint in session.paths.history.trials]
        self._known = {state.wire.address(endpoint)[0] for endpoint in tried}
        self._questions, self._ends = {}, now + PATIENCE
        self.hairpin = None
        for session in ours[:NEIGHBOURS]:
            path, keys = session.paths.active, session.sending_keys()
            if path is not None and keys is not None:
                token = self._question(session.node, now, is_neighbour=True)
                knock = control.Knock(token, b"", 0, 0, other_port=True)
                self._blocks.send_to(path.endpoint, keys, control.frame(knock))
        if outer is None:
            return
        strangers = [node for node in members if self._is_stranger(node)]
        for node in strangers[:STRANGERS]:
            token = self._question(node, now, is_neighbour=False)
            self._ask(node, control.Knock(token, *outer, 0, other_port=False), now)
        endpoint = state.wire.endpoint_at(*outer)
        self._echo = state.random(TOKEN)
        for branch in () if endpoint is None else state.wire.branch(endpoint, 1):
            state.transmit(branch, (wire.ECHO_TYPE, self._echo))

    def answered(self, session: Session, answer: control.Knocked, now: float) -> None:
        """A peer has sent, or will not."""
        question = self._questions.get(answer.token)
        if question is None or question.node != session.node:
            self._state.counters["drop_knocked"] += 1
            return
        question.sent = answer.sent
        question.settled_at = now + (GRACE if answer.sent else 0.0)

    def came(self, session: Session, token: bytes, source: Source, now: float) -> None:
        """A datagram came that was asked for."""
        question = self._questions.get(token)
        if question is None or question.node != session.node or isinstance(source, Overlay):
            self._state.counters["drop_unasked"] += 1
            return
        session.paths.leave(source)
        question.came_from = self._state.wire.address(source)[0]
        question.settled_at = now

    def echoed(self, datagram: memoryview) -> None:
        """A datagram came that is none of a session's: our own, if the router turned it round."""
        if self._echo is None or bytes(datagram[1:]) != self._echo:
            self._state.counters["drop_echo"] += 1
            return
        self.hairpin, self._echo = True, None

    @property
    def filtering(self) -> Filtering:
        """What is known by now."""
        asked = self._questions.values()
        came = [question for question in asked if question.came_from is not None]
        refused = [question for question in asked if question.sent and question.came_from is None]
        if any(question.came_from not in self._known for question in came if not question.is_neighbour):
            return Filtering.INDEPENDENT
        if came:
            strangers_refused = any(not question.is_neighbour for question in refused)
            return Filtering.ADDRESS_DEPENDENT if strangers_refused else Filtering.UNKNOWN
        return Filtering.DEPENDENT if any(question.is_neighbour for question in refused) else Filtering.UNKNOWN

    def wake(self, now: float) -> None:
        due = self.next_wake()
        if due is not None and now >= due:
            self._ends = inf
            if self._echo is not None:
                self.hairpin, self._echo = False, None
            self._state.events.append(FilteringKnown())

    def next_wake(self) -> float | None:
        """When the test is over: all that was asked is settled, or the time is up."""
        if self._ends == inf:
            return None
        settled = max((question.settled_at for question in self._questions.values()), default=self._ends)
        return min(self._ends, max(settled, self._ends - PATIENCE + GRACE))

    def _is_stranger(self, node: bytes) -> bool:
        """Whether this node has never sent to it directly, as far as it remembers: a NAT remembers, too."""
        session = self._state.sessions.get(node)
        return node not in self._state.former and (session is None or not session.paths.history.trials)

    def _question(self, node: bytes, now: float, *, is_neighbour: bool) -> bytes:
        token = self._state.random(TOKEN)
        self._questions[token] = _Question(node, is_neighbour, now + PATIENCE)
        return token

    def _is_ipv4(self, session: Session) -> bool:
        path = session.paths.active
        return path is not None and not session.failing and len(self._state.wire.address(path.endpoint)[0]) == 4
