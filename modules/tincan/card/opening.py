"""From settings to an open card: made, taken over, or none."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress

from .errors import CardError
from .protocol.ethernet import mac_of
from .settings import CardSettings, Interface
from .tap import Tap
from .user import UserCard


def open_card(
    settings: CardSettings,
    interfaces: Iterable[Interface],
    node: bytes,
    clock: Callable[[], float],
    descriptor: int | None = None,
) -> Tap | UserCard | None:
    """The node's card, not brought up yet if it is new; None for a bare node.

    `node` is the 20-byte id; `clock` gives seconds on a monotonic clock; `descriptor` is a TAP's that was kept over a
    restart and belongs to the card from now on. Raises CardError.
    """
    if settings.card is None:
        return None
    mac = mac_of(node)
    if settings.card_type == "user":
        return UserCard(settings.card, mac, settings.mtu, interfaces, clock)
    tap = _adopt(descriptor, mac, settings.card) or Tap.open(settings.card, mac)
    from . import netlink  # noqa: PLC0415 - pyroute2 takes a quarter of a second to import, and only a TAP needs it

    try:
        netlink.configure(tap.name, mac, settings.mtu)
    except CardError:
        tap.close()
        raise
    return tap


def _adopt(descriptor: int | None, mac: bytes, name: str) -> Tap | None:
    """The card behind a kept descriptor; None when there is none, or its card was removed or renamed meanwhile."""
    if descriptor is None:
        return None
    try:
        tap = Tap(descriptor, mac)
    except (CardError, OSError) as error:
        with suppress(OSError):
            os.close(descriptor)
        if isinstance(error, CardError):
            raise
        return None
    if tap.name == name:
        return tap
    tap.close()
    return None
