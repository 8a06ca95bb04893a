"""How a session ends: its keys are forgotten, what waited for it is counted, and the adapter is told.

With the session its wishes for a direct link are gone, so whoever asked for one because of traffic has to know: if any
goes on, the next session asks again.
"""

from __future__ import annotations

from typing import Final

from . import control
from .blocks import Blocks
from .events import CardIdle, LinkDown, SessionClosed
from .session import Session
from .state import State

MAX_FORMER: Final = 4096


def say_farewell(blocks: Blocks, session: Session, now: float) -> None:
    """Tell the peer that the session ends, under all keys: it heeds only those that are newest to it."""
    for keys in session.all_keys():
        blocks.send_under(session, keys, control.frame(control.Close()), now)


def end_session(state: State, blocks: Blocks, session: Session, reason: str) -> None:
    """Forget a peer; `reason` is for people."""
    direct = session.direct
    for keys in session.all_keys():
        blocks.refuse(keys)
    session.keys = None
    session.older.clear()
    session.paths.drop_all()
    state.counters["drop_no_session"] += len(session.waiting) + len(session.waiting_control) + len(session.held.take())
    if state.sessions.pop(session.node, None) is not None:
        state.ended.add(session.counters)
        if session.paths.history.trials:
            state.former[session.node] = None
        if len(state.former) > MAX_FORMER:
            del state.former[next(iter(state.former))]
    state.timers.forget(session.node)
    if session.carries_card or not session.idle_told:
        state.events.append(CardIdle(session.node))
    if direct:
        state.events.append(LinkDown(session.node, reason))
    state.events.append(SessionClosed(session.node, reason))
