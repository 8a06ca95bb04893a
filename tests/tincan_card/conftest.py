from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_interface
from pathlib import Path

import pytest

from ipop_modules.tincan.card import netlink
from ipop_modules.tincan.card.opening import open_card
from ipop_modules.tincan.card.protocol.neighbours import Neighbours
from ipop_modules.tincan.card.settings import CardSettings
from ipop_modules.tincan.card.tap import Tap

from .namespace import Namespace
from .wire import Port

Host = tuple[Namespace, Port]


@pytest.fixture
def namespace() -> Iterator[Callable[[], Namespace]]:
    """Makes network namespaces that go with the test."""
    if os.geteuid() or not Path("/dev/net/tun").exists():
        reason = "needs root and /dev/net/tun"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    made: list[Namespace] = []

    def make() -> Namespace:
        made.append(Namespace())
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def host(namespace: Callable[[], Namespace]) -> Iterator[Callable[[bytes, int], Host]]:
    """Makes namespaces with an open, configured card, for a node and its last byte of address."""
    cards: list[Tap] = []

    def make(node: bytes, number: int) -> Host:
        inside = namespace()
        interfaces = tuple(ip_interface(text) for text in (f"192.168.10.{number}/24", f"fd00::{number}/64"))
        card = inside.run(lambda: open_card(CardSettings(), interfaces, node, time.monotonic))
        assert isinstance(card, Tap)
        inside.run(lambda: netlink.bring_up(card.name, card.mac, interfaces))
        cards.append(card)
        return inside, Port(card, node, Neighbours(node, interfaces))

    yield make
    for card in cards:
        card.close()
